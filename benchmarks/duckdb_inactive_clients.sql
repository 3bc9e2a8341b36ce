-- The frame inactive_clients, written by hand for DuckDB: the yardstick of benchmarks/daily.py. $as_of is an instant.
-- Views named like the frames read the Parquet files.

CREATE OR REPLACE TEMP TABLE place AS
SELECT company_id, timezone, CAST(timezone(timezone, $as_of::TIMESTAMPTZ) AS DATE) AS today FROM companies;

CREATE OR REPLACE TEMP TABLE line AS
SELECT r.company_id, r.client_id, r.service_id, CAST(timezone(p.timezone, r.starts_at) AS DATE) AS day, r.price_minor
FROM records r JOIN place p USING (company_id)
ANTI JOIN (SELECT company_id, client_id FROM clients WHERE deleted) gone USING (company_id, client_id)
WHERE r.created_at <= $as_of::TIMESTAMPTZ AND r.starts_at <= $as_of::TIMESTAMPTZ AND r.status = 'attended' AND NOT r.deleted
  AND r.client_id IS NOT NULL;

CREATE OR REPLACE TEMP TABLE due AS
WITH pair_day AS (
  SELECT l.company_id, l.client_id, l.service_id, l.day
  FROM line l SEMI JOIN (SELECT company_id, service_id FROM rules WHERE active) u USING (company_id, service_id)
  GROUP BY ALL
), overdue AS (
  SELECT d.company_id, d.client_id, d.service_id, max(day) AS last_visit, count(*) AS service_visits, max(day, 6) AS newest
  FROM pair_day d GROUP BY ALL
), numbers AS (
  SELECT o.*, u.interval_days, u.max_attempts, c.personal_factor, p.today - o.last_visit AS days_since,
         least(o.service_visits - 1, 5) AS gaps,
         list_median(list_transform(range(1, len(newest)), LAMBDA i: newest[i] - newest[i + 1])) AS own
  FROM overdue o JOIN rules u USING (company_id, service_id) JOIN companies c USING (company_id) JOIN place p USING (company_id)
  WHERE p.today - o.last_visit > u.interval_days
), rhythm AS (
  SELECT *, CASE WHEN gaps >= 2 THEN (gaps * own + 3 * interval_days) / (gaps + 3) END AS rhythm_days FROM numbers
), threshold AS (
  SELECT *, greatest(interval_days, coalesce(CAST(ceil(personal_factor * rhythm_days - 1e-9) AS BIGINT), 0)) AS due_after FROM rhythm
)
SELECT t.*, coalesce(s.list_price_minor, 0) AS price, coalesce(s.active, FALSE) AS service_active, days_since / due_after AS overdue
FROM threshold t LEFT JOIN services s USING (company_id, service_id)
WHERE days_since > due_after
QUALIFY row_number() OVER (
  PARTITION BY company_id, client_id ORDER BY service_visits DESC, days_since / due_after DESC, coalesce(s.list_price_minor, 0) DESC, service_id
) = 1;

CREATE OR REPLACE TEMP TABLE scored AS
WITH history AS (
  SELECT company_id, client_id, count(DISTINCT day) AS visits, max(day) AS last_any, coalesce(sum(price_minor), 0) AS spent_minor
  FROM line GROUP BY ALL
), upcoming AS (
  SELECT company_id, client_id, min(starts_at) AS upcoming_at FROM records
  WHERE starts_at > $as_of::TIMESTAMPTZ AND created_at <= $as_of::TIMESTAMPTZ AND NOT deleted AND status <> 'cancelled'
  GROUP BY ALL
), leveled AS (
  SELECT d.*, h.visits, h.spent_minor, h.last_any, p.today - h.last_any AS days_since_any, u.upcoming_at,
         CASE WHEN visits >= 20 AND spent_minor >= 5000000 THEN 5 WHEN visits >= 10 AND spent_minor >= 2000000 THEN 4
              WHEN visits >= 5 AND spent_minor >= 800000 THEN 3 WHEN visits >= 2 THEN 2 ELSE 1 END AS loyalty
  FROM due d JOIN history h USING (company_id, client_id) JOIN place p USING (company_id)
  LEFT JOIN upcoming u USING (company_id, client_id)
)
SELECT *, CASE WHEN loyalty >= 4 THEN 0 WHEN visits = 1 THEN 2 ELSE 1 END AS segment_rank,
       count(*) OVER (PARTITION BY company_id) AS n,
       8 * loyalty * count(*) OVER (PARTITION BY company_id)
       + 30 * count(*) OVER (PARTITION BY company_id ORDER BY spent_minor)
       + 20 * count(*) OVER (PARTITION BY company_id ORDER BY visits)
       + 10 * count(*) OVER (PARTITION BY company_id ORDER BY overdue) AS score
FROM leveled;

CREATE OR REPLACE TEMP TABLE inactive_clients AS
WITH log AS (
  SELECT *, CASE WHEN completed_at <= $as_of::TIMESTAMPTZ THEN completion_reason END AS ended,
         CASE WHEN sent_at <= $as_of::TIMESTAMPTZ THEN sent_at END AS sent,
         CASE WHEN responded_at <= $as_of::TIMESTAMPTZ THEN responded_at END AS responded,
         CASE WHEN responded_at <= $as_of::TIMESTAMPTZ THEN open_until END AS open
  FROM campaigns WHERE planned_at <= $as_of::TIMESTAMPTZ
), latest AS (
  SELECT *, CASE WHEN held_out THEN send_after ELSE coalesce(sent, send_after) END AS left_at,
         max(sent) FILTER (NOT held_out) OVER client AS last_sent, max(open) OVER client AS last_open
  FROM log WINDOW client AS (PARTITION BY company_id, client_id)
  QUALIFY row_number() OVER (PARTITION BY company_id, client_id ORDER BY episode_no DESC, attempt_number DESC) = 1
), state AS (
  SELECT l.*, CAST(timezone(p.timezone, left_at) AS DATE) AS at_day,
         ended IS NULL AND CASE WHEN held_out OR sent IS NOT NULL
                                THEN responded IS NULL AND left_at > $as_of::TIMESTAMPTZ - INTERVAL 7 DAY
                                ELSE status NOT IN ('cancelled', 'expired', 'failed') END AS waiting
  FROM latest l JOIN place p USING (company_id)
), suppressed AS (
  SELECT DISTINCT company_id, phone FROM suppressions WHERE "at" <= $as_of::TIMESTAMPTZ AND (lifted_at IS NULL OR lifted_at > $as_of::TIMESTAMPTZ)
), resting AS (
  SELECT DISTINCT company_id, client_id FROM pauses WHERE "at" <= $as_of::TIMESTAMPTZ AND until > $as_of::TIMESTAMPTZ
), own_phone AS (
  SELECT company_id, phone FROM staff WHERE phone IS NOT NULL UNION SELECT company_id, phone FROM companies WHERE phone IS NOT NULL
), decided AS (
  SELECT s.*, CASE
    WHEN x.phone IS NOT NULL THEN 'opted_out'
    WHEN z.client_id IS NOT NULL THEN 'paused'
    WHEN NOT coalesce(k.consent, trim(coalesce(c.consent_basis, '')) <> '') THEN 'no_consent'
    WHEN k.mailing_refused THEN 'mailing_refused'
    WHEN k.blacklisted THEN 'blacklisted'
    WHEN k.phone IS NULL THEN 'invalid_phone'
    WHEN row_number() OVER (PARTITION BY s.company_id, k.phone ORDER BY days_since_any, s.client_id) > 1 THEN 'duplicate_phone'
    WHEN o.phone IS NOT NULL THEN 'staff_phone'
    WHEN upcoming_at IS NOT NULL THEN 'upcoming_record'
    WHEN days_since_any < min_days_since_visit THEN 'visited_recently'
    WHEN days_since_any > max_days_inactive THEN 'gone_too_long'
    WHEN last_sent > $as_of::TIMESTAMPTZ - INTERVAL 7 DAY THEN 'contacted_recently'
    WHEN waiting THEN 'waiting_for_reply'
    WHEN next_attempt_at > $as_of::TIMESTAMPTZ AND last_any < at_day THEN 'retry_not_due'
    WHEN last_any < at_day AND (ended = 'max_attempts' OR (ended IS NULL AND attempt_number >= s.max_attempts)) THEN 'attempts_exhausted'
    WHEN last_open > $as_of::TIMESTAMPTZ THEN 'replied_open_dialog'
    WHEN NOT enabled THEN 'company_disabled'
    WHEN NOT service_active THEN 'rule_without_service'
    ELSE '' END AS reason
  FROM scored s JOIN companies c USING (company_id) LEFT JOIN clients k USING (company_id, client_id)
  LEFT JOIN suppressed x ON x.company_id = s.company_id AND x.phone = k.phone
  LEFT JOIN own_phone o ON o.company_id = s.company_id AND o.phone = k.phone
  LEFT JOIN resting z ON z.company_id = s.company_id AND z.client_id = s.client_id
  LEFT JOIN state l ON l.company_id = s.company_id AND l.client_id = s.client_id
)
SELECT company_id, client_id, service_id, last_visit, days_since::INTEGER AS days_since, days_since_any::INTEGER AS days_since_any,
       due_after::INTEGER AS due_after, CASE WHEN reason = '' THEN 'eligible' ELSE 'excluded' END AS decision, reason,
       ['vip', 'regular', 'new'][segment_rank + 1] AS segment, score / (100 * n) AS priority, visits::INTEGER AS visits,
       spent_minor::BIGINT AS spent_minor, loyalty::TINYINT AS loyalty, interval_days::INTEGER AS interval_days, rhythm_days,
       gaps::TINYINT AS gaps, service_visits::INTEGER AS service_visits, upcoming_at
FROM decided ORDER BY company_id, segment_rank, score DESC, client_id;
