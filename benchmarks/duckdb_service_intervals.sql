-- The frames visit_gaps and service_intervals, written by hand for DuckDB: the yardstick of benchmarks/intervals.py. $as_of is an instant.

CREATE TEMP TABLE visit_gaps AS
WITH
  lines AS (
    SELECT r.company_id, r.client_id, r.service_id, (r.starts_at AT TIME ZONE c.timezone)::date AS visit_day,
      ($as_of::timestamptz AT TIME ZONE c.timezone)::date AS today
    FROM records r JOIN companies c USING (company_id) LEFT JOIN clients p USING (company_id, client_id)
    WHERE r.status = 'attended' AND NOT r.deleted AND r.created_at <= $as_of::timestamptz AND r.starts_at <= $as_of::timestamptz
      AND r.client_id IS NOT NULL AND NOT coalesce(p.deleted, false)
  ),
  recent AS (SELECT company_id, client_id, service_id, visit_day FROM lines WHERE today - visit_day <= 730),
  visits AS (
    SELECT DISTINCT company_id, client_id, NULL::bigint AS service_id, visit_day FROM recent
    UNION ALL
    SELECT DISTINCT company_id, client_id, service_id, visit_day FROM recent WHERE service_id IS NOT NULL
  )
SELECT company_id, client_id, service_id, visit_day,
  visit_day - lag(visit_day) OVER (PARTITION BY company_id, client_id, service_id ORDER BY visit_day) AS gap_days
FROM visits QUALIFY gap_days IS NOT NULL;

CREATE TEMP TABLE service_intervals AS
WITH
  by_client AS (
    SELECT company_id, service_id, count(*) AS sample, -- whole sums: an irregularity of exactly 0.3 must not depend on rounding
      sqrt((count(*) * sum(gap_days * gap_days) - sum(gap_days) * sum(gap_days))::double) / sum(gap_days) AS spread
    FROM visit_gaps GROUP BY company_id, service_id, client_id
  ),
  by_service AS (
    SELECT company_id, service_id, count(*) AS clients, avg((1 - least(spread, 1) > 0.7)::int) FILTER (sample >= 2) AS regular_share
    FROM by_client GROUP BY company_id, service_id
  ),
  gaps AS (
    SELECT company_id, service_id, count(*) AS gaps, quantile_cont(gap_days, [0.25, 0.5, 0.75]) AS quartiles, avg(gap_days) AS mean_days,
      stddev_pop(gap_days) AS std_days
    FROM visit_gaps GROUP BY company_id, service_id
  )
SELECT g.company_id, g.service_id, clients, gaps, quartiles[1] AS lower_quartile, quartiles[2] AS median_days,
  quartiles[3] AS upper_quartile, mean_days, std_days, regular_share,
  CASE WHEN gaps >= 50 THEN floor(quartiles[2] + 0.5) END AS historical_days
FROM gaps g JOIN by_service s ON g.company_id = s.company_id AND g.service_id IS NOT DISTINCT FROM s.service_id
ORDER BY g.company_id, g.service_id NULLS FIRST;
