//! `~SEQ(name, first, step, last)`, `~SEQx`, `~LST(name, value, …)`: what a line is repeated with.

/// Most values of one sequence; more stand in no configuration.
const MAX_VALUES: usize = 100_000;

/// The values that a line is repeated with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sequence {
    /// Numbers.
    Numbers { name: String, first: i64, step: i64, count: usize, hexadecimal: bool },
    /// Listed values, each as many as there are names.
    List { names: Vec<String>, values: Vec<Vec<String>> },
}

impl Sequence {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Numbers { count, .. } => *count,
            Self::List { values, .. } => values.len(),
        }
    }

    /// Definitions of the round numbered `index`.
    pub(super) fn values(&self, index: usize) -> Vec<(String, String)> {
        match self {
            Self::Numbers { name, first, step, hexadecimal, .. } => {
                let offset = i64::try_from(index).unwrap_or(i64::MAX).saturating_mul(*step);
                let value = first.saturating_add(offset);
                let text = match (*hexadecimal, value < 0) {
                    (true, true) => format!("-{:x}", value.unsigned_abs()),
                    (true, false) => format!("{value:x}"),
                    (false, _) => value.to_string(),
                };
                vec![(name.clone(), text)]
            }
            Self::List { names, values } => {
                let values = values.get(index).into_iter().flatten();
                names.iter().cloned().zip(values.cloned()).collect()
            }
        }
    }
}

/// The sequence at the beginning of a line, and the line to repeat.
pub(super) fn parse(line: &str) -> Result<(Sequence, &str), String> {
    let (head, rest) = line.split_once('(').ok_or("a sequence needs its values in brackets")?;
    let (inside, rest) = rest.split_once(')').ok_or("the bracket of a sequence is not closed")?;
    if rest.trim().is_empty() {
        return Err("a sequence repeats the rest of its line, and there is none".to_owned());
    }
    let sequence = match head.trim_end() {
        "~SEQ" => numbers(inside, false)?,
        "~SEQx" => numbers(inside, true)?,
        "~LST" => list(inside)?,
        other => return Err(format!("there is no sequence `{other}`")),
    };
    Ok((sequence, rest))
}

fn name(text: &str) -> Result<String, String> {
    let text = text.trim();
    let good = !text.is_empty()
        && text.chars().all(|char| char.is_ascii_alphanumeric() || char == '_')
        && !text.starts_with(|char: char| char.is_ascii_digit());
    if good { Ok(text.to_owned()) } else { Err(format!("`{text}` cannot be the name of a parameter")) }
}

/// A number as C writes it: decimal, `0x…` or octal with a leading zero.
fn number(text: &str) -> Result<i64, String> {
    let text = text.trim();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let parsed = if let Some(digits) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        u32::from_str_radix(digits, 16)
    } else if digits.len() > 1 && digits.starts_with('0') {
        u32::from_str_radix(digits, 8)
    } else {
        digits.parse()
    };
    parsed.map(|value| sign * i64::from(value)).map_err(|_| format!("`{text}` is no number of a sequence"))
}

fn numbers(inside: &str, hexadecimal: bool) -> Result<Sequence, String> {
    let parts: Vec<&str> = inside.split(',').collect();
    let (first, step, last) = match parts.as_slice() {
        [_, last] => {
            let last = number(last)?;
            (if last < 0 { -1 } else { 1 }, None, last)
        }
        [_, first, last] => (number(first)?, None, number(last)?),
        [_, first, step, last] => (number(first)?, Some(number(step)?), number(last)?),
        _ => return Err("a sequence has a name, a first number, a step and a last number".to_owned()),
    };
    let name = name(parts.first().copied().unwrap_or_default())?;
    let step = step.unwrap_or(if last < first { -1 } else { 1 });
    if step == 0 || (last - first).signum() * step.signum() < 0 {
        return Err(format!("with a step of {step} a sequence never comes from {first} to {last}"));
    }
    let count = usize::try_from((last - first) / step + 1).unwrap_or(usize::MAX);
    if count > MAX_VALUES {
        return Err(format!("a sequence of {count} numbers is too long: at most {MAX_VALUES}"));
    }
    Ok(Sequence::Numbers { name, first, step, count, hexadecimal })
}

fn list(inside: &str) -> Result<Sequence, String> {
    let mut groups = groups(inside)?.into_iter();
    let names = groups.next().unwrap_or_default();
    let names: Vec<String> = names.iter().map(|text| name(text)).collect::<Result<_, _>>()?;
    let values: Vec<Vec<String>> = groups.collect();
    if values.is_empty() || values.len() > MAX_VALUES {
        return Err("a list needs a name and at least one value".to_owned());
    }
    match values.iter().find(|group| group.len() != names.len()) {
        Some(odd) => Err(format!("a list for {} names has {} values in a group", names.len(), odd.len())),
        None => Ok(Sequence::List { names, values }),
    }
}

/// `a, {b, c}, d` as groups.
fn groups(inside: &str) -> Result<Vec<Vec<String>>, String> {
    let mut out = Vec::new();
    let mut rest = inside.trim();
    while !rest.is_empty() {
        let after = if let Some(inner) = rest.strip_prefix('{') {
            let (group, after) = inner.split_once('}').ok_or("a group of a list is not closed")?;
            out.push(group.split(',').map(|text| text.trim().to_owned()).collect());
            after.trim_start()
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            out.push(vec![rest[..end].trim().to_owned()]);
            &rest[end..]
        };
        rest = match after.strip_prefix(',') {
            Some(after) => after.trim_start(),
            None if after.is_empty() => after,
            None => return Err("the values of a list are separated by commas".to_owned()),
        };
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &str) -> String {
        match parse(line) {
            Ok((sequence, rest)) => {
                let value = |index| {
                    let values = sequence.values(index).into_iter();
                    values.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
                };
                let all: Vec<_> = (0..sequence.len()).map(value).collect();
                format!("{} |{rest}", all.join(" "))
            }
            Err(error) => error,
        }
    }

    #[test]
    fn sequences_are_those_of_keepalived() {
        for (line, values) in [
            ("~SEQ(X,1,3) a", "X=1 X=2 X=3 | a"),
            ("~SEQ(X,3)a", "X=1 X=2 X=3 |a"),
            ("~SEQ(X,-2) a", "X=-1 X=-2 | a"),
            ("~SEQ(X,3,1) a", "X=3 X=2 X=1 | a"),
            ("~SEQ(X, 1, 2, 6) a", "X=1 X=3 X=5 | a"),
            ("~SEQ(H,010,012) a", "H=8 H=9 H=10 | a"),
            ("~SEQx(V, 8, 11) a", "V=8 V=9 V=a V=b | a"),
            ("~SEQx(V, 0x12, -1, 0x10) a", "V=12 V=11 V=10 | a"),
            ("~LST(L, a, b,c) x", "L=a L=b L=c | x"),
            ("~LST({A, B}, {1,2},{3,4}) x", "A=1&B=2 A=3&B=4 | x"),
            ("~SEQ(X,1,-1,3) a", "with a step of -1 a sequence never comes from 1 to 3"),
            ("~SEQ(X,1,0,3) a", "with a step of 0 a sequence never comes from 1 to 3"),
            ("~SEQ(X,1,4294967295) a", "a sequence of 4294967295 numbers is too long: at most 100000"),
            ("~SEQ(X,1,99999999999) a", "`99999999999` is no number of a sequence"),
            ("~SEQ(X,1,3)", "a sequence repeats the rest of its line, and there is none"),
            ("~SEQ(X,1,3", "the bracket of a sequence is not closed"),
            ("~SEQ", "a sequence needs its values in brackets"),
            ("~LST(A) x", "a list needs a name and at least one value"),
            ("~LST({A,B},{1}) x", "a list for 2 names has 1 values in a group"),
            ("~LST(1A, x) x", "`1A` cannot be the name of a parameter"),
        ] {
            assert_eq!(shown(line), values, "{line}");
        }
    }
}
