-- Messages sent and what they came to, by service.
SELECT
    company_id,
    service_id,
    count(*) AS sent,
    count(*) FILTER (replied) AS replied,
    count(*) FILTER (booked) AS booked,
    count(*) FILTER (attended) AS attended,
    count(*) FILTER (opted_out) AS opted_out
FROM conversions
WHERE
    NOT held_out
    AND (CAST($company_id AS BIGINT) IS NULL OR company_id = $company_id)
    AND day BETWEEN $from AND $to
GROUP BY company_id, service_id
ORDER BY company_id NULLS FIRST, service_id NULLS FIRST
