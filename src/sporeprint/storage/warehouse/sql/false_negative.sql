-- Of the answers that said the negative class: how many outcomes are known, and how many of those were positive; and the same of
-- different rows, of which the newest answer counts. Where an earlier release did not tell rows apart, each answer is a row.
WITH numbered AS (
    SELECT o.hour_us, o.model, o.version, o.test_id, o.arm, c.positive,
           ROW_NUMBER() OVER (
               PARTITION BY t.day, o.model, o.version, o.test_id, o.arm, o.row_hash, CASE WHEN o.row_hash IS NULL THEN o.prediction_id END
               ORDER BY o.created_us DESC, o.prediction_id DESC
           ) AS number
    FROM fact_outcome o
    JOIN dim_time t ON t.hour_us = o.hour_us
    JOIN dim_verdict v ON v.verdict = o.verdict
    JOIN dim_class c ON c.code = o.outcome
    WHERE v.kind = 'negative' AND o.latest = 1 AND o.hour_us >= :since_us
),
counted AS (
    SELECT a.hour_us, a.model, a.version, a.test_id, a.arm, a.answers AS said, 0 AS known, 0 AS wrong, 0 AS different, 0 AS different_wrong
    FROM hour_answers a
    JOIN dim_verdict v ON v.verdict = a.verdict
    WHERE v.kind = 'negative' AND a.hour_us >= :since_us
    UNION ALL
    SELECT o.hour_us, o.model, o.version, o.test_id, o.arm, 0 AS said, o.answers AS known, o.answers * c.positive AS wrong,
           0 AS different, 0 AS different_wrong
    FROM hour_outcomes o
    JOIN dim_verdict v ON v.verdict = o.verdict
    JOIN dim_class c ON c.code = o.outcome
    WHERE v.kind = 'negative' AND o.hour_us >= :since_us
    UNION ALL
    SELECT n.hour_us, n.model, n.version, n.test_id, n.arm, 0 AS said, 0 AS known, 0 AS wrong, 1 AS different, n.positive AS different_wrong
    FROM numbered n
    WHERE n.number = 1
)
SELECT t.day, n.model, n.version, n.test_id, n.arm,
       SUM(n.said) AS said_negative,
       SUM(n.known) AS outcome_known,
       SUM(n.wrong) AS were_positive,
       SUM(n.different) AS different_rows,
       SUM(n.different_wrong) AS different_positive,
       CASE WHEN SUM(n.known) > 0 THEN CAST(SUM(n.wrong) AS DOUBLE) / SUM(n.known) END AS share
FROM counted n
JOIN dim_time t ON t.hour_us = n.hour_us
GROUP BY t.day, n.model, n.version, n.test_id, n.arm
ORDER BY t.day, n.model, n.version, n.test_id, n.arm
