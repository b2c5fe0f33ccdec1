-- What was answered: each verdict, and its share of the day's answers of that model and arm.
WITH counted AS (
    SELECT t.day, a.model, a.version, a.test_id, a.arm, a.verdict, SUM(a.answers) AS answers
    FROM hour_answers a
    JOIN dim_time t ON t.hour_us = a.hour_us
    WHERE a.hour_us >= :since_us
    GROUP BY t.day, a.model, a.version, a.test_id, a.arm, a.verdict
)
SELECT day, model, version, test_id, arm, verdict, answers,
       CAST(answers AS DOUBLE) / SUM(answers) OVER (PARTITION BY day, model, version, test_id, arm) AS share
FROM counted
ORDER BY day, model, version, test_id, arm, verdict
