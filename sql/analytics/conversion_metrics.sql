-- Counts and sums of every cell: day, company, service, attempt, local hour and weekday, stage, tone, source of the text.
SELECT
    day,
    company_id,
    service_id,
    attempt_number,
    hour,
    weekday,
    stage,
    tone,
    source,
    held_out,
    count(*) AS campaigns,
    count(*) FILTER (delivered) AS delivered,
    count(*) FILTER (read) AS read,
    count(*) FILTER (replied) AS replied,
    count(*) FILTER (booked) AS booked,
    count(*) FILTER (attended) AS attended,
    count(*) FILTER (opted_out) AS opted_out,
    CAST(sum(revenue_minor) AS BIGINT) AS revenue_minor,
    CAST(sum(discount_minor) AS BIGINT) AS discount_minor,
    CAST(sum(cost_minor) AS BIGINT) AS cost_minor,
    coalesce(CAST(sum(CAST(round(reply_minutes * 60000000) AS BIGINT)) AS DOUBLE), 0) * (1 / 60000000) AS reply_minutes_sum
FROM conversions
WHERE
    (CAST($company_id AS BIGINT) IS NULL OR company_id = $company_id)
    AND day BETWEEN $from AND $to
GROUP BY ALL
ORDER BY
    day,
    company_id,
    service_id NULLS FIRST,
    attempt_number,
    hour,
    weekday,
    stage NULLS FIRST,
    tone NULLS FIRST,
    source NULLS FIRST,
    held_out
