-- Revenue of attributed attended bookings and what it cost, in minor units; by company, since currencies differ.
SELECT
    company_id,
    count(*) AS sent,
    count(*) FILTER (booked) AS booked,
    count(*) FILTER (attended) AS attended,
    CAST(sum(revenue_minor) AS BIGINT) AS revenue_minor,
    CAST(sum(cost_minor) AS BIGINT) AS cost_minor,
    CAST(sum(discount_minor) AS BIGINT) AS discount_minor
FROM conversions
WHERE
    NOT held_out
    AND (CAST($company_id AS BIGINT) IS NULL OR company_id = $company_id)
    AND day BETWEEN $from AND $to
GROUP BY company_id
ORDER BY company_id
