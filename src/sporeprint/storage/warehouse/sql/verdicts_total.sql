-- What was answered over the whole time, by model and arm.
SELECT a.model, a.version, a.test_id, a.arm,
       SUM(a.answers) AS answers,
       SUM(CASE WHEN v.kind = 'positive' THEN a.answers ELSE 0 END) AS positive,
       SUM(CASE WHEN v.kind = 'negative' THEN a.answers ELSE 0 END) AS negative,
       SUM(CASE WHEN v.kind = 'unknown' THEN a.answers ELSE 0 END) AS unknown_answers
FROM hour_answers a
LEFT JOIN dim_verdict v ON v.verdict = a.verdict
WHERE a.hour_us >= :since_us
GROUP BY a.model, a.version, a.test_id, a.arm
ORDER BY a.model, a.version, a.test_id, a.arm
