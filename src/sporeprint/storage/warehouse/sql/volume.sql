-- How many answers were given, and how many hours of the day had any.
SELECT t.day, a.model, a.version, a.test_id, a.arm,
       SUM(a.answers) AS answers,
       COUNT(DISTINCT a.hour_us) AS hours
FROM hour_answers a
JOIN dim_time t ON t.hour_us = a.hour_us
WHERE a.hour_us >= :since_us
GROUP BY t.day, a.model, a.version, a.test_id, a.arm
ORDER BY t.day, a.model, a.version, a.test_id, a.arm
