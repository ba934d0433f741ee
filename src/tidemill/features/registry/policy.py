"""The gate's rule: from evidence to yes or no, with reasons. Pure, so that the same evidence decides the same."""

from collections.abc import Sequence
from dataclasses import dataclass

from tidemill.schemas.registry import Check, Comparison, GatePolicy

CHECKS = ("signature", "leakage", "finite_predictions", "bundle")
"""Codes of all checks that a version goes through."""


@dataclass(frozen=True)
class Verdict:
    passed: bool
    reasons: list[str]
    """In words, what spoke for and against; every no has at least one."""


def decide(policy: GatePolicy, checks: Sequence[Check], comparisons: Sequence[Comparison]) -> Verdict:
    """Yes if no check failed and each opponent is beaten, or not worse by more than the stated margin.

    An opponent is beaten when the whole paired-bootstrap interval of the difference lies above zero; the margin makes
    it a test of non-inferiority. Without a comparison with the baseline there is no evidence, which is a no.
    """
    findings = [_of_check(policy, check) for check in checks if check.passed is not True]
    findings.extend(_of_comparison(policy, comparison) for comparison in comparisons)
    if not any(comparison.against == "baseline" and comparison.scored for comparison in comparisons):
        findings.append((False, "No evidence: there is no holdout on which it could be compared with the baseline"))
    findings.sort(key=lambda finding: finding[0])  # what speaks against it comes first
    return Verdict(all(good for good, _ in findings), [reason for _, reason in findings])


def _of_check(policy: GatePolicy, check: Check) -> tuple[bool, str]:
    if check.passed is None:
        return True, f"Check {check.code} could not be made: {check.detail}"
    if check.code in policy.ignored_checks:
        return True, f"Check {check.code} failed, which the policy ignores: {check.detail}"
    return False, f"Check {check.code} failed: {check.detail}"


def _of_comparison(policy: GatePolicy, comparison: Comparison) -> tuple[bool, str]:
    name = "the naive baseline" if comparison.against == "baseline" else f"champion {comparison.number}"
    if not comparison.scored or comparison.low is None or comparison.high is None:
        return _of_unscored(policy, comparison, name)
    margin = policy.baseline_margin if comparison.against == "baseline" else policy.champion_margin
    where = (
        f"{comparison.metric} differs by {comparison.difference:+.4g} "
        f"({policy.confidence:.0%} interval {comparison.low:+.4g} to {comparison.high:+.4g})"
    )
    where += _of_seen_rows(comparison)
    if comparison.low > 0:
        return True, f"Better than {name}: {where}"
    if margin > 0 and comparison.low > -margin:
        return True, f"Not worse than {name} by more than the margin {margin:g}: {where}"
    asked = f"above -{margin:g}" if margin > 0 else "above zero"
    return False, f"Not shown to be better than {name}: {where}, and the interval must lie {asked}"


def _of_seen_rows(comparison: Comparison) -> str:
    if comparison.rows_left_out:
        return f", on the {comparison.row_count} holdout rows that it was not trained on"
    if comparison.rows_seen_by_other:
        return f"; it was trained on {comparison.rows_seen_by_other} of the {comparison.row_count} rows, which helps it"
    return ""


def _of_unscored(policy: GatePolicy, comparison: Comparison, name: str) -> tuple[bool, str]:
    if comparison.against == "baseline":
        return True, f"Not compared with {name}: {comparison.reason}"
    allowed = policy.unscorable_champion == "promote"
    rule = "the policy promotes then" if allowed else "the policy keeps the champion then"
    return allowed, f"Not comparable with {name}: {comparison.reason}; {rule}"
