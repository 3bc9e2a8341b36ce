-- Messages sent and what they came to, by number of the attempt.
SELECT
    attempt_number,
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
GROUP BY attempt_number
ORDER BY attempt_number NULLS FIRST
