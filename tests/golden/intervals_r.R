# Golden numbers for tests/stats, from R.
#
#   Rscript intervals_r.R FOLDER > intervals_r.json
#
# FOLDER holds two source files of R packages: auc.nonpara.mw.R of auRoc (Newcombe's method 5, by the roots of a polynomial)
# and Tango_asymptotic_score_CI_paired_2x2.R of contingencytables 2 (Tango's score interval, by uniroot to 1e-7).
# The rest is base R: qbeta, pbinom, qt, pnorm, binom.test, p.adjust. Made with R 4.2.2.
folder <- commandArgs(trailingOnly = TRUE)[1]
source(file.path(folder, "auc.nonpara.mw.R"))
source(file.path(folder, "Tango_asymptotic_score_CI_paired_2x2.R"))

number <- function(x) paste(sprintf("%.15g", x), collapse = ", ")
line <- function(...) sprintf("  [%s]", number(c(...)))
section <- function(name, lines) cat(sprintf("\"%s\": [\n%s\n]", name, paste(lines, collapse = ",\n")))

cat("{\n")
# area, positives, negatives, confidence -> low, high
areas <- list(c(0.6, 40, 60, 0.95), c(0.87, 25, 400, 0.95), c(0.999, 500, 300, 0.9), c(1, 30, 20, 0.95), c(0.99995, 5000, 4100, 0.99))
section("newcombe", sapply(areas, function(a) line(a, getAUCCImwu(a[1], qnorm((1 + a[4]) / 2), a[2], a[3]))))
cat(",\n")
# only a right, only b right, rows, confidence -> low, high
tables <- list(c(1, 7, 21, 0.95), c(6, 16, 161, 0.95), c(0, 0, 50, 0.95), c(5, 0, 40, 0.95), c(40, 20, 160, 0.9), c(3, 2, 9160, 0.99))
section("tango", sapply(tables, function(t) {
  ends <- Tango_asymptotic_score_CI_paired_2x2(rbind(c(t[3] - t[1] - t[2], t[1]), c(t[2], 0)), 1 - t[4], FALSE)
  line(t, ends$L, ends$U)
}))
cat(",\n")
# only a right, only b right -> p-value of the exact McNemar test
section("mcnemar", sapply(tables[-3], function(t) line(t[1:2], binom.test(t[1], t[1] + t[2])$p.value)))
cat(",\n")
# successes, trials, confidence -> low, high (real-valued counts too)
shares <- list(c(0, 10, 0.95), c(10, 10, 0.95), c(9159, 9160, 0.95), c(3, 8, 0.9), c(2.5, 7.25, 0.95))
section("clopper_pearson", sapply(shares, function(s) {
  tail <- (1 - s[3]) / 2
  line(s, ifelse(s[1] > 0, qbeta(tail, s[1], s[2] - s[1] + 1), 0), ifelse(s[1] < s[2], qbeta(1 - tail, s[1] + 1, s[2] - s[1]), 1))
}))
cat(",\n")
# groups, confidence -> tail probability of the expanded percentile interval
groups <- list(c(2, 0.95), c(8, 0.95), c(20, 0.9), c(173, 0.95))
section("expanded", sapply(groups, function(g) line(g, pnorm(-sqrt(g[1] / (g[1] - 1)) * qt((1 + g[2]) / 2, g[1] - 1)))))
cat(",\n")
p <- c(0.01, 0.04, 0.03, 0.005, 0.9, 0.03)
cat(sprintf("\"holm\": {\"p\": [%s], \"adjusted\": [%s]}\n}\n", number(p), number(p.adjust(p, "holm"))))
