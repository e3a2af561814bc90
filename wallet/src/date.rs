//! Times as people read them: `2026-11-23 01:20` in UTC.

const DAY_SECONDS: u64 = 86_400;

/// Seconds since 1970 as `YYYY-MM-DD HH:MM`, in UTC.
pub(crate) fn show(seconds: u64) -> String {
    let (year, month, day) = civil(seconds / DAY_SECONDS);
    let minutes = seconds % DAY_SECONDS / 60;
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}", minutes / 60, minutes % 60)
}

/// The date of a day since 1970-01-01, by eras of 400 years that begin in March (H. Hinnant,
/// "chrono-compatible low-level date algorithms").
const fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let january = if month <= 2 { 1 } else { 0 };
    (era * 400 + year + january, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        assert_eq!(show(0), "1970-01-01 00:00");
        assert_eq!(show(951_782_399), "2000-02-28 23:59");
        assert_eq!(show(951_782_400), "2000-02-29 00:00");
        assert_eq!(show(1_767_225_600), "2026-01-01 00:00");
        assert_eq!(show(4_107_542_399), "2100-02-28 23:59");
        assert_eq!(show(4_107_542_400), "2100-03-01 00:00");
    }
}
