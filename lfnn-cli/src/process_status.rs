//! What Linux tells a process about itself.

/// The value of a line of `/proc/self/status`; none on other systems.
pub(crate) fn get(key: &str) -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    Some(value.trim().to_owned())
}
