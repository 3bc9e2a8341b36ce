-- Episodes of both arms by company: messaged against held out, by intention to treat. An episode counts once and is
-- booked when any of its messages led to a booking. Only attempts that the held-out episodes went through as well are
-- compared, so that both arms are watched through the same windows.
WITH wanted AS (
    SELECT *
    FROM conversions
    WHERE
        (CAST($company_id AS BIGINT) IS NULL OR company_id = $company_id)
        AND day BETWEEN $from AND $to
),

compared AS (
    SELECT *
    FROM wanted
    QUALIFY
        attempt_number
        <= coalesce(max(attempt_number) FILTER (held_out) OVER (PARTITION BY company_id), attempt_number)
),

episodes AS (
    SELECT
        company_id,
        held_out,
        bool_or(booked) AS booked,
        bool_or(attended) AS attended,
        sum(revenue_minor) AS revenue_minor,
        sum(cost_minor) AS cost_minor,
        sum(discount_minor) AS discount_minor
    FROM compared
    GROUP BY company_id, client_id, episode_no, held_out
)

SELECT
    company_id,
    held_out,
    count(*) AS episodes,
    count(*) FILTER (booked) AS booked,
    count(*) FILTER (attended) AS attended,
    CAST(sum(revenue_minor) AS BIGINT) AS revenue_minor,
    CAST(sum(revenue_minor * revenue_minor) AS DECIMAL(38, 0)) AS revenue_squared,
    CAST(sum(cost_minor) AS BIGINT) AS cost_minor,
    CAST(sum(discount_minor) AS BIGINT) AS discount_minor
FROM episodes
GROUP BY company_id, held_out
ORDER BY company_id, held_out
