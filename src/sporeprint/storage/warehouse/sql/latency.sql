-- How long answers took: mean and standard deviation from sums, quantiles from the histogram, spread evenly within a bin.
WITH bins AS (
    SELECT t.day, l.model, l.version, l.test_id, l.arm, l.low_us, l.high_us, CAST(SUM(l.answers) AS DOUBLE) AS n
    FROM hour_latency l
    JOIN dim_time t ON t.hour_us = l.hour_us
    WHERE l.hour_us >= :since_us
    GROUP BY t.day, l.model, l.version, l.test_id, l.arm, l.low_us, l.high_us
),
running AS (
    SELECT day, model, version, test_id, arm, low_us, high_us, n,
           SUM(n) OVER (PARTITION BY day, model, version, test_id, arm ORDER BY low_us) AS up_to,
           SUM(n) OVER (PARTITION BY day, model, version, test_id, arm) AS total
    FROM bins
),
quantiles AS (
    SELECT day, model, version, test_id, arm,
           MIN(CASE WHEN up_to >= 0.50E0 * total THEN low_us + GREATEST(0.50E0 * total - up_to + n, 0E0) / n * (high_us - low_us) END) AS p50_us,
           MIN(CASE WHEN up_to >= 0.95E0 * total THEN low_us + GREATEST(0.95E0 * total - up_to + n, 0E0) / n * (high_us - low_us) END) AS p95_us,
           MIN(CASE WHEN up_to >= 0.99E0 * total THEN low_us + GREATEST(0.99E0 * total - up_to + n, 0E0) / n * (high_us - low_us) END) AS p99_us
    FROM running
    GROUP BY day, model, version, test_id, arm
),
sums AS (
    SELECT t.day, a.model, a.version, a.test_id, a.arm, SUM(a.answers) AS answers,
           CAST(SUM(a.answers) AS DOUBLE) AS n, CAST(SUM(a.latency_sum_us) AS DOUBLE) AS sum_us, SUM(a.latency_sum_us2) AS sum_us2
    FROM hour_answers a
    JOIN dim_time t ON t.hour_us = a.hour_us
    WHERE a.hour_us >= :since_us
    GROUP BY t.day, a.model, a.version, a.test_id, a.arm
)
SELECT s.day, s.model, s.version, s.test_id, s.arm, s.answers,
       s.sum_us / s.n / 1000E0 AS mean_ms,
       CASE WHEN s.n > 1
            THEN SQRT(GREATEST(s.sum_us2 - s.sum_us * s.sum_us / s.n, 0E0) / (s.n - 1)) / 1000E0
       END AS sd_ms,
       q.p50_us / 1000E0 AS p50_ms, q.p95_us / 1000E0 AS p95_ms, q.p99_us / 1000E0 AS p99_ms
FROM sums s
JOIN quantiles q
  ON q.day = s.day AND q.model = s.model AND q.version = s.version AND q.test_id = s.test_id AND q.arm = s.arm
ORDER BY s.day, s.model, s.version, s.test_id, s.arm
