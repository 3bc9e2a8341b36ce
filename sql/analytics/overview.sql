-- Messages sent: how far they got, and minutes to the reply and to the booking. One row.
-- Times are averaged over whole microseconds, so that the order of adding up cannot show.
WITH sent AS (
    SELECT
        *,
        CAST(round(reply_minutes * 60000000) AS BIGINT) AS reply_us,
        CAST(round(booking_minutes * 60000000) AS BIGINT) AS booking_us
    FROM conversions
    WHERE
        NOT held_out
        AND (CAST($company_id AS BIGINT) IS NULL OR company_id = $company_id)
        AND day BETWEEN $from AND $to
)

SELECT
    count(*) AS sent,
    count(*) FILTER (delivered) AS delivered,
    count(*) FILTER (read) AS read,
    count(*) FILTER (replied) AS replied,
    count(*) FILTER (booked) AS booked,
    count(*) FILTER (attended) AS attended,
    count(*) FILTER (opted_out) AS opted_out,
    count(*) FILTER (NOT settled) AS unsettled,
    CAST(sum(reply_us) AS DOUBLE) / count(reply_us) * (1 / 60000000) AS reply_minutes_average,
    median(reply_us) * (1 / 60000000) AS reply_minutes_median,
    CAST(sum(booking_us) AS DOUBLE) / count(booking_us) * (1 / 60000000) AS booking_minutes_average,
    median(booking_us) * (1 / 60000000) AS booking_minutes_median
FROM sent
