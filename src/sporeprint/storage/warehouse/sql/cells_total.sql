-- The three kinds of cell over the whole time, by model and column: a value, recorded as empty, not observed.
-- The numbers between 0 and 1 that an answer has are counted with the columns; they are left out.
SELECT f.model, f.version, f.feature,
       SUM(f.answers) AS answers,
       SUM(CASE WHEN f.kind IN ('missing', 'absent') THEN 0 ELSE f.answers END) AS observed,
       SUM(CASE WHEN f.kind = 'missing' THEN f.answers ELSE 0 END) AS empty_cells,
       SUM(CASE WHEN f.kind = 'absent' THEN f.answers ELSE 0 END) AS not_observed
FROM hour_features f
WHERE f.hour_us >= :since_us AND f.feature NOT IN ('probability', 'novelty_p')
GROUP BY f.model, f.version, f.feature
ORDER BY f.model, f.version, f.feature
