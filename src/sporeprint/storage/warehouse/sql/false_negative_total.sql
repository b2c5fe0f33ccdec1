-- The same over the whole time: of the answers that said the negative class, how many were positive.
WITH counted AS (
    SELECT a.hour_us, a.model, a.version, a.test_id, a.arm, a.answers AS said, 0 AS known, 0 AS wrong
    FROM hour_answers a
    JOIN dim_verdict v ON v.verdict = a.verdict
    WHERE v.kind = 'negative' AND a.hour_us >= :since_us
    UNION ALL
    SELECT o.hour_us, o.model, o.version, o.test_id, o.arm, 0 AS said, o.answers AS known, o.answers * c.positive AS wrong
    FROM hour_outcomes o
    JOIN dim_verdict v ON v.verdict = o.verdict
    JOIN dim_class c ON c.code = o.outcome
    WHERE v.kind = 'negative' AND o.hour_us >= :since_us
)
SELECT model, version, test_id, arm,
       SUM(said) AS said_negative,
       SUM(known) AS outcome_known,
       SUM(wrong) AS were_positive,
       CASE WHEN SUM(known) > 0 THEN CAST(SUM(wrong) AS DOUBLE) / SUM(known) END AS share
FROM counted
GROUP BY model, version, test_id, arm
ORDER BY model, version, test_id, arm
