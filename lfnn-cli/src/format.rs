//! Numbers and tables for people.

use std::time::Duration;

/// A whole number with separators between thousands.
pub(crate) fn count(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// How many of a thing: `1 thread`, `2 threads`.
pub(crate) fn number_of(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

/// Bytes in a unit that leaves few digits.
pub(crate) fn bytes(number: usize) -> String {
    let mut value = number as f64;
    let mut unit = "B";
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    if unit == "B" { format!("{number} B") } else { format!("{value:.1} {unit}") }
}

/// A time as `4.2 s`, `3 min 05 s` or `2 h 07 min`.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..=59 => format!("{:.1} s", time.as_secs_f64()),
        60..=3599 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// A share in percent, or a dash.
pub(crate) fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "–".into(), |share| format!("{share:.2} %"))
}

/// A loss, or a dash.
pub(crate) fn loss(loss: Option<f64>) -> String {
    loss.map_or_else(|| "–".into(), |loss| format!("{loss:.4}"))
}

/// A number in five digits.
pub(crate) fn significant(number: f64) -> String {
    if number == 0.0 {
        return "0".into();
    }
    let digits = number.abs().log10().floor();
    if (-4.0..6.0).contains(&digits) {
        let decimals = (4.0 - digits).clamp(0.0, 8.0) as usize;
        return format!("{number:.decimals$}");
    }
    format!("{number:.4e}")
}

/// Extents of an image or a vector.
pub(crate) fn shape(shape: &[usize]) -> String {
    let extents: Vec<String> = shape.iter().map(usize::to_string).collect();
    extents.join("×")
}

/// How a column is lined up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    /// At its left edge.
    Left,
    /// At its right edge.
    Right,
}

/// Rows of cells as lines with columns lined up, two spaces apart.
pub(crate) fn table(align: &[Align], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|c| c.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..align.len()).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for ((cell, &width), align) in row.iter().zip(&widths).zip(align) {
            let pad = " ".repeat(width - cell.chars().count());
            let (before, after) = if *align == Align::Left { ("", &*pad) } else { (&*pad, "") };
            line += &format!("{before}{cell}{after}  ");
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// A bar of eight eighths for a share from 0 to 1.
pub(crate) fn bar(share: f64) -> char {
    const STEPS: [char; 9] = ['·', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let step = (share.clamp(0.0, 1.0) * 8.0).round() as usize;
    STEPS[step.min(8)]
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(count(7), "7");
        assert_eq!(count(275_000), "275,000");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(bytes(1000), "1000 B");
        assert_eq!(bytes(3 << 20), "3.0 MiB");
        assert_eq!(duration(Duration::from_millis(4200)), "4.2 s");
        assert_eq!(duration(Duration::from_secs(185)), "3 min 05 s");
        assert_eq!(duration(Duration::from_secs(7620)), "2 h 07 min");
        assert_eq!(percent(None), "–");
        assert_eq!(significant(3026.53), "3026.5");
        assert_eq!(significant(0.012_345_6), "0.012346");
        assert_eq!(significant(0.0), "0");
        assert_eq!(significant(1.5e9), "1.5000e9");
        assert_eq!(significant(1.5e-7), "1.5000e-7");
    }

    #[test]
    fn tables_line_up_and_end_without_spaces() {
        let rows = [vec!["a".to_owned(), "1".into()], vec!["bc".into(), "20".into()]];
        assert_eq!(table(&[Align::Left, Align::Right], &rows), "a    1\nbc  20\n");
        assert_eq!(table(&[Align::Right, Align::Left], &rows), " a  1\nbc  20\n");
    }
}
