//! Lines of `schemata`: a resource, and for each cache or node of it a mask or a number, as in `L3:0=7f0;1=1f` or `MB:0=20;1=70`.

/// The resource of a line.
pub fn resource(line: &str) -> &str {
    line.split(':').next().unwrap_or_default().trim()
}

/// Whether all that a line asks for stands in these lines, however it is written: the order of the caches, leading zeros, the case of digits.
/// Bandwidth is rounded up to steps of `step` percent, as the kernel does.
pub fn is_in(line: &str, lines: &[String], step: u64) -> bool {
    let same = lines.iter().find(|other| resource(other) == resource(line));
    let there = same.map(|other| parts(other)).unwrap_or_default();
    let wanted = parts(line);
    let found = |(place, value): &(&str, &str)| {
        there
            .iter()
            .any(|(other, found)| other == place && means(line, value, step) == means(line, found, step))
    };
    !wanted.is_empty() && wanted.iter().all(found)
}

fn parts(line: &str) -> Vec<(&str, &str)> {
    let list = line.split_once(':').map_or("", |(_, list)| list);
    let pairs = list.split(';').filter_map(|part| part.split_once('='));
    pairs.map(|(place, value)| (place.trim(), value.trim())).collect()
}

/// Masks are of hexadecimal digits, shares of bandwidth decimal.
#[derive(Debug, PartialEq, Eq)]
enum Meaning<'a> {
    Number(u128),
    Text(&'a str),
}

fn means<'a>(line: &str, value: &'a str, step: u64) -> Meaning<'a> {
    let number = if resource(line) == "MB" {
        value.parse::<u64>().ok().and_then(|share| share.checked_next_multiple_of(step)).map(u128::from)
    } else {
        u128::from_str_radix(value, 16).ok()
    };
    number.map_or(Meaning::Text(value), Meaning::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told() -> Vec<String> {
        ["    MB:0= 30;1=100", "L3:0=007f0;1=1f", "L2:0=f"].map(str::to_owned).into()
    }

    #[test]
    fn a_line_is_found_by_what_it_means() {
        for line in ["L3:0=7f0;1=1f", "L3:1=1F;0=7F0", "L3:0=7f0", "MB:0=30;1=100", "MB:0=25", "L2: 0 = F"] {
            assert!(is_in(line, &told(), 10), "{line}");
        }
        for line in ["L3:0=7f1", "L3:2=1f", "L3CODE:0=1f", "MB:0=31", "MB:0=20", "L3:", "L3", "nonsense"] {
            assert!(!is_in(line, &told(), 10), "{line}");
        }
    }
}
