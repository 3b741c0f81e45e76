//! What one document changes in another, for people.

use similar::TextDiff;

/// Lines shown around each change.
const CONTEXT: usize = 3;

/// A unified diff of two documents under these names; empty if they are equal.
pub fn diff(old: (&str, &str), new: (&str, &str)) -> String {
    let ((old_name, old), (new_name, new)) = (old, new);
    let lines = TextDiff::from_lines(old, new);
    lines.unified_diff().context_radius(CONTEXT).header(old_name, new_name).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changed_and_the_lines_around_it_are_shown() {
        let old: String = (1..=20).map(|n| format!("line {n}\n")).collect();
        let new = old.replace("line 10\n", "line X\n");
        let shown = diff(("revision 1", &old), ("candidate", &new));
        assert!(shown.starts_with("--- revision 1\n+++ candidate\n@@ -7,7 +7,7 @@\n"), "{shown}");
        assert!(shown.contains("-line 10\n+line X\n") && !shown.contains("line 6\n"), "{shown}");
    }

    #[test]
    fn equal_documents_have_no_difference() {
        assert_eq!(diff(("a", "x\n"), ("b", "x\n")), "");
    }

    #[test]
    fn a_missing_line_break_at_the_end_is_a_difference() {
        assert!(diff(("a", "x\n"), ("b", "x")).contains("No newline at end of file"));
    }
}
