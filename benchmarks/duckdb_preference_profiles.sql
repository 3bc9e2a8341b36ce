-- The frame preference_profiles of the clients in inactive_clients, written by hand for DuckDB: the yardstick of benchmarks/daily.py.

CREATE OR REPLACE TEMP TABLE recent AS
WITH own AS (
  SELECT d.company_id, d.client_id, timezone(c.timezone, r.starts_at) AS local, r.staff_id, r.service_id
  FROM records r JOIN inactive_clients d USING (company_id, client_id) JOIN companies c USING (company_id)
  WHERE r.created_at <= $as_of::TIMESTAMPTZ AND r.starts_at <= $as_of::TIMESTAMPTZ AND r.status = 'attended' AND NOT r.deleted
)
SELECT company_id, client_id, CAST(local AS DATE) AS day, 60 * hour(local) + minute(local) AS minute, staff_id, service_id FROM own
QUALIFY dense_rank() OVER (PARTITION BY company_id, client_id ORDER BY CAST(local AS DATE) DESC) <= 20;

CREATE OR REPLACE TEMP TABLE visit AS
SELECT company_id, client_id, day, CASE WHEN min(minute) < 720 THEN 0 WHEN min(minute) < 1020 THEN 1 ELSE 2 END AS period,
       isodow(day) AS weekday, day - lag(day) OVER (PARTITION BY company_id, client_id ORDER BY day) AS gap
FROM recent GROUP BY company_id, client_id, day;

CREATE OR REPLACE TEMP TABLE preference_profiles AS
WITH rhythm AS (
  SELECT company_id, client_id, count(*) AS visits, sum(gap)::BIGINT AS total, sum(gap * gap)::BIGINT AS squares, median(gap) AS gap_median,
         sum((period = 0)::INT) AS morning, sum((period = 1)::INT) AS afternoon, sum((period = 2)::INT) AS evening
  FROM visit GROUP BY ALL
), period AS (
  SELECT company_id, client_id, arg_max(period, (n, last)) AS period, max(n) AS n
  FROM (SELECT company_id, client_id, period, count(*) AS n, max(day) AS last FROM visit GROUP BY ALL) GROUP BY ALL
), weekday AS (
  SELECT company_id, client_id, list(weekday ORDER BY n DESC, last DESC, weekday)[:3] AS weekdays, max(n) AS n
  FROM (SELECT company_id, client_id, weekday, count(*) AS n, max(day) AS last FROM visit GROUP BY ALL) GROUP BY ALL
), service AS (
  SELECT company_id, client_id, list(service_id ORDER BY n DESC, last DESC, service_id)[:3] AS services,
         list(n ORDER BY n DESC, last DESC, service_id)[:3] AS counts
  FROM (SELECT company_id, client_id, service_id, count(DISTINCT day) AS n, max(day) AS last FROM recent WHERE service_id IS NOT NULL GROUP BY ALL)
  GROUP BY ALL
), master AS (
  SELECT m.company_id, m.client_id, list(m.staff_id ORDER BY n DESC, last DESC, m.staff_id)[:3] AS masters, max(n) AS n
  FROM (SELECT company_id, client_id, staff_id, count(DISTINCT day) AS n, max(day) AS last FROM recent WHERE staff_id IS NOT NULL GROUP BY ALL) m
  JOIN staff s ON s.company_id = m.company_id AND s.staff_id = m.staff_id AND s.active
  JOIN inactive_clients d ON d.company_id = m.company_id AND d.client_id = m.client_id
  WHERE s.service_ids IS NULL OR list_contains(s.service_ids, d.service_id)
  GROUP BY ALL
)
SELECT d.company_id, d.client_id, r.visits::INTEGER AS visits,
       CASE WHEN r.visits >= 10 THEN 0.9::DOUBLE WHEN r.visits >= 5 THEN 0.7::DOUBLE WHEN r.visits >= 3 THEN 0.5::DOUBLE ELSE 0.3::DOUBLE END AS confidence,
       CASE WHEN p.n / r.visits > 0.4::DOUBLE THEN ['morning', 'afternoon', 'evening'][p.period + 1] END AS time_of_day,
       CASE WHEN p.n / r.visits > 0.4::DOUBLE THEN p.n / r.visits ELSE 0 END AS time_confidence,
       morning / r.visits AS share_morning, afternoon / r.visits AS share_afternoon, evening / r.visits AS share_evening,
       weekdays::TINYINT[] AS weekdays, w.n / r.visits AS weekday_confidence,
       masters[1] AS staff_id, coalesce(m.n / r.visits, 0) AS staff_share, coalesce(m.n, 0)::INTEGER AS staff_visits,
       coalesce(masters[2:3], []) AS staff_alternatives,
       coalesce(services, []) AS services, coalesce(list_transform(counts, LAMBDA x: x / r.visits), []) AS service_shares,
       CASE WHEN r.visits > 1 THEN total / (r.visits - 1) END AS gap_mean, gap_median,
       CASE WHEN r.visits > 2 THEN sqrt((r.visits - 1) * squares - total * total) / (r.visits - 1) END AS gap_std,
       CASE WHEN r.visits > 2 THEN 1 - least(sqrt((r.visits - 1) * squares - total * total) / total, 1) END AS regularity,
       CASE WHEN r.visits > 2 THEN 1 - least(sqrt((r.visits - 1) * squares - total * total) / total, 1) > 0.7::DOUBLE END AS regular,
       coalesce(m.n >= 3 AND m.n / r.visits >= 0.75::DOUBLE, FALSE) AS assert_staff
FROM inactive_clients d
JOIN rhythm r USING (company_id, client_id) JOIN period p USING (company_id, client_id) JOIN weekday w USING (company_id, client_id)
LEFT JOIN service s USING (company_id, client_id) LEFT JOIN master m USING (company_id, client_id)
ORDER BY d.company_id, d.client_id;
