//! The files of the judge, made of the table of keywords in `words.txt`: each keyword right, in wrong case,
//! twice, with bad values, in a wrong block, with odd blanks, in comments and conditions, and quoted; and
//! combinations by a seed.

use std::collections::{BTreeMap, BTreeSet};

use super::file::File;
use super::ours::DIRECTOR;

/// Objects of one file, each with one statement on trial.
const SLOTS: usize = 12;

/// A keyword and values of it.
#[derive(Debug, Clone)]
struct Entry {
    block: &'static str,
    keyword: &'static str,
    good: Vec<String>,
    bad: Vec<String>,
}

/// Statements on trial in one kind of block.
#[derive(Debug, Clone)]
struct Trial {
    block: &'static str,
    keyword: &'static str,
    /// Its lines.
    text: String,
    /// Whether a line of the frame with this keyword stays beside it.
    beside: bool,
}

/// Checks of a real server, but for BFD_CHECK, which needs an instance of its own.
pub(crate) const CHECKS: [&str; 9] = [
    "TCP_CHECK",
    "HTTP_GET",
    "SSL_GET",
    "MISC_CHECK",
    "UDP_CHECK",
    "DNS_CHECK",
    "SMTP_CHECK",
    "PING_CHECK",
    "FILE_CHECK",
];

fn table() -> Vec<Entry> {
    let values = |text: &str| -> Vec<String> {
        text.split(" ; ")
            .map(str::trim)
            .filter(|value| !value.is_empty())
            .map(|value| if value == "-" { String::new() } else { value.replace("\\n", "\n") })
            .collect()
    };
    include_str!("words.txt")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let mut fields = line.split('|').map(str::trim);
            let mut field = || fields.next().unwrap_or_default();
            let (block, keyword) = (field(), field());
            Entry { block, keyword, good: values(field()), bad: values(field()) }
        })
        .collect()
}

/// Every keyword that is on trial somewhere.
pub(crate) fn words() -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    for entry in table() {
        words.insert(entry.keyword.to_owned());
        for value in entry.good.iter().chain(&entry.bad) {
            words.extend(value.split_whitespace().map(ToOwned::to_owned));
        }
    }
    for text in [file_of("", &[]).bytes, CHECKS.join(" ").into_bytes()] {
        words.extend(String::from_utf8_lossy(&text).split_whitespace().map(ToOwned::to_owned));
    }
    words
}

fn statement(keyword: &str, value: &str) -> String {
    if value.is_empty() { keyword.to_owned() } else { format!("{keyword} {value}") }
}

/// `text` with upper case where it had lower, and the other way round.
fn other_case(text: &str) -> String {
    let swap =
        |char: char| if char.is_lowercase() { char.to_ascii_uppercase() } else { char.to_ascii_lowercase() };
    text.chars().map(swap).collect()
}

/// The ways in which a keyword is tried, by name.
fn ways(entry: &Entry) -> Vec<(&'static str, String, bool)> {
    let keyword = entry.keyword;
    let first = entry.good.first().map_or("", String::as_str);
    let second = entry.good.get(1).map_or(first, String::as_str);
    let right = statement(keyword, first);
    let block = first.contains('{');
    let mut out = Vec::new();
    for value in &entry.good {
        out.push(("right", statement(keyword, value), false));
    }
    for value in &entry.bad {
        out.push(("bad", statement(keyword, value), false));
    }
    out.push(("case", statement(&other_case(keyword), first), true));
    if !block && other_case(first) != first {
        out.push(("case", statement(keyword, &other_case(first)), false));
    }
    out.push(("twice", format!("{right}\n{}", statement(keyword, second)), true));
    out.push(("twice", format!("{}\n{right}", statement(keyword, second)), true));
    if let Some(bad) = entry.bad.first() {
        out.push(("twice", format!("{right}\n{}", statement(keyword, bad)), true));
        out.push(("twice", format!("{}\n{right}", statement(keyword, bad)), true));
    }
    out.push(("blanks", format!("\t {}  ", statement(keyword, &format!("\t  {first}"))), false));
    if !block {
        out.push(("blanks", format!("{keyword}\u{a0}{first}"), true));
        out.push(("blanks", format!("{right}\u{a0}"), false));
        out.push(("comment", format!("{right} # {second}"), false));
        out.push(("comment", format!("{right} ! {second}"), false));
        out.push(("comment", format!("{right}#{second}"), false));
        out.push(("comment", format!("#{right}"), true));
        out.push(("comment", format!("  !{right}"), true));
        out.push(("condition", format!("@{DIRECTOR} {right}"), false));
        out.push(("condition", format!("@other {right}"), true));
        out.push(("condition", format!("@^{DIRECTOR} {right}"), true));
        out.push(("condition", format!("@^other {right}"), false));
        out.push(("quotes", format!("\"{keyword}\" {first}"), false));
        out.push(("quotes", statement(keyword, &format!("{first} more")), false));
        if !first.is_empty() && !first.contains('"') {
            out.push(("quotes", format!("{keyword} \"{first}\""), false));
            out.push(("quotes", format!("{keyword} '{first}'"), false));
            out.push(("quotes", format!("{keyword} \"{first}"), false));
            out.push(("quotes", format!("{keyword} \"{first} \""), false));
        }
    } else {
        out.push(("blanks", right.replacen('{', "\n{", 1), false));
        out.push(("blanks", right.replace('\n', "\n\n\t"), false));
        out.push(("comment", right.replacen('{', "{ # {", 1), false));
        out.push(("comment", right.replace('\n', "\n# }\n"), false));
    }
    out
}

/// All files of the table.
pub(crate) fn keywords() -> Vec<File> {
    let table = table();
    let known: BTreeSet<(&str, &str)> = table.iter().map(|entry| (entry.block, entry.keyword)).collect();
    let mut trials: BTreeMap<(&str, &str), Vec<Trial>> = BTreeMap::new();
    let mut add = |way: &'static str, trial: Trial| trials.entry((way, trial.block)).or_default().push(trial);
    for (number, entry) in table.iter().enumerate() {
        let blocks: Vec<&'static str> =
            if entry.block == "check" { CHECKS.to_vec() } else { vec![entry.block] };
        for block in blocks {
            let mut last = "";
            for (way, text, beside) in ways(entry) {
                let reading = !["right", "bad", "twice"].contains(&way);
                if entry.block == "check" && reading && !["TCP_CHECK", "HTTP_GET"].contains(&block) {
                    continue;
                }
                // Files with track files are judged one by one: the first of each way is enough.
                if entry.block == "check" && block == "FILE_CHECK" && std::mem::replace(&mut last, way) == way
                {
                    continue;
                }
                add(way, Trial { block, keyword: entry.keyword, text, beside });
            }
        }
        // In a block that does not have it.
        let elsewhere =
            ["instance", "service", "global", "real", "TCP_CHECK", "script", "group", "top", "HTTP_GET"];
        let foreign = elsewhere.iter().cycle().skip(number).take(elsewhere.len()).filter(|block| {
            let checks = CHECKS.contains(*block) && known.contains(&("check", entry.keyword));
            !known.contains(&(**block, entry.keyword)) && !checks
        });
        for block in foreign.take(1) {
            let text = statement(entry.keyword, entry.good.first().map_or("", String::as_str));
            add("elsewhere", Trial { block, keyword: entry.keyword, text, beside: true });
        }
    }
    let mut files = Vec::new();
    for ((way, block), trials) in trials {
        for (number, some) in batches(block, trials).into_iter().enumerate() {
            let name = format!("{way}-{block}-{number}");
            let mut file = file_of(&name, &some);
            if some.len() > 1 {
                let part = |(part, trial): (usize, &Trial)| {
                    file_of(&format!("{name}.{part}"), std::slice::from_ref(trial))
                };
                file.parts = some.iter().enumerate().map(part).collect();
            }
            files.push(file);
        }
    }
    files
}

/// Trials that can stand in one file: of one block at the top of a file each keyword once.
fn batches(block: &str, trials: Vec<Trial>) -> Vec<Vec<Trial>> {
    let shared = |keyword: &str| {
        ["global", "top"].contains(&block)
            || ["use_vmac", "virtual_router_id", "use_ipvlan"].contains(&keyword)
    };
    let mut out: Vec<Vec<Trial>> = Vec::new();
    for trial in trials {
        // Track files make keepalived's test crash or run for ever when there are several.
        let alone = |trial: &Trial| {
            trial.block == "file" || trial.text.contains("track_file") || trial.block == "FILE_CHECK"
        };
        let fits = |some: &&mut Vec<Trial>| {
            let taken = shared(trial.keyword) && some.iter().any(|other| other.keyword == trial.keyword);
            some.len() < SLOTS && !taken && !alone(&trial) && !some.iter().any(alone)
        };
        match out.iter_mut().find(fits) {
            Some(some) => some.push(trial),
            None => out.push(vec![trial]),
        }
    }
    out
}

/// A text that grows by lines.
#[derive(Default)]
struct Text(String);

impl Text {
    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    /// The lines of a frame but for those whose keyword is on trial, and the trial.
    fn block(&mut self, head: &str, frame: &[&str], trial: Option<&Trial>) {
        self.line(&format!("{head} {{"));
        for line in frame {
            let keyword = line.split_whitespace().next().unwrap_or_default();
            if trial.is_none_or(|trial| trial.beside || trial.keyword != keyword) {
                self.line(line);
            }
        }
        if let Some(trial) = trial {
            self.line(&trial.text);
        }
        self.line("}");
    }
}

fn file_of(name: &str, trials: &[Trial]) -> File {
    let of = |block: &str| -> Vec<&Trial> { trials.iter().filter(|trial| trial.block == block).collect() };
    let mut text = Text::default();
    text.line("global_defs {");
    if !trials.iter().any(|trial| trial.keyword == "script_user" && !trial.beside) {
        text.line("script_user nobody");
    }
    for trial in of("global") {
        text.line(&trial.text);
    }
    text.line("}");
    for trial in of("top") {
        text.line(&trial.text);
    }
    // What instances and checks refer to.
    text.block("vrrp_script c", &["script /bin/true", "interval 2"], None);
    text.block("vrrp_track_process p", &["process nginx"], None);
    let only_checks = trials.iter().any(|trial| trial.block == "FILE_CHECK");
    if only_checks || trials.iter().any(|trial| trial.text.contains("track_file")) {
        text.block("track_file f", &["file /tmp/f"], None);
    }
    let instances = of("instance");
    for (number, trial) in instances.iter().enumerate() {
        let number = number + 1;
        let vrid = format!("virtual_router_id {number}");
        let vips = format!("virtual_ipaddress {{\n192.0.2.{}/24\n}}", 100 + number);
        text.block(&format!("vrrp_instance V{number}"), &["interface eth0", &vrid, &vips], Some(trial));
    }
    let vips: Vec<String> = (1..=SLOTS).map(|number| format!("192.0.2.{}", 100 + number)).collect();
    let vips = format!("virtual_ipaddress {{\n{}\n}}", vips.join("\n"));
    let plain = "virtual_ipaddress {\n192.0.2.99/24\n}";
    text.block(
        "vrrp_instance V",
        &["interface eth0", "virtual_router_id 250", if instances.is_empty() { &vips } else { plain }],
        None,
    );
    for (number, trial) in of("group").iter().enumerate() {
        let number = number + 1;
        let member = |letter: &str, number: usize| format!("{letter}{number}");
        for (at, letter) in ["V", "W"].iter().enumerate() {
            let vrid = format!("virtual_router_id {}", number * 2 + at);
            let vip = format!("virtual_ipaddress {{\n198.51.100.{}/24\n}}", number * 2 + at);
            text.block(
                &format!("vrrp_instance {}", member(letter, number)),
                &["interface eth1", &vrid, &vip],
                None,
            );
        }
        let members = format!("group {{\nV{number}\nW{number}\n}}");
        let own = Trial {
            text: trial
                .text
                .replace(" V\n", &format!(" V{number}\n"))
                .replace(" W\n", &format!(" W{number}\n")),
            ..(*trial).clone()
        };
        text.block(&format!("vrrp_sync_group G{number}"), &[&members], Some(&own));
    }
    for (kind, head, frame, track) in [
        ("script", "vrrp_script c", vec!["script /bin/true"], "track_script"),
        ("process", "vrrp_track_process p", vec!["process nginx"], "track_process"),
        ("file", "track_file f", vec!["file /tmp/f"], "track_file"),
    ] {
        for (number, trial) in of(kind).iter().enumerate() {
            let number = number + 1;
            let name = head.rsplit(' ').next().unwrap_or_default();
            text.block(&format!("{head}{number}"), &frame, Some(trial));
            let vrid = format!("virtual_router_id {number}");
            let vip = format!("virtual_ipaddress {{\n198.51.100.{number}/24\n}}");
            let tracked = format!("{track} {{\n{name}{number}\n}}");
            text.block(&format!("vrrp_instance T{number}"), &["interface eth1", &vrid, &vip, &tracked], None);
        }
    }
    let service = ["lb_algo rr", "lb_kind DR", "protocol TCP"];
    let check = "TCP_CHECK {\nconnect_timeout 3\n}";
    for (number, trial) in trials.iter().enumerate() {
        let front = format!("virtual_server 192.0.2.{} 80", 101 + number);
        let real = |inside: &str| format!("real_server 192.0.2.21 80 {{\n{inside}\n}}");
        if trial.block == "service" {
            let mut frame = service.to_vec();
            let real = real(check);
            // What is wrong with a virtual server must not be hidden by its first real server.
            let beside = Trial { beside: true, ..trial.clone() };
            frame.push(&real);
            let trial = if trial.keyword == "real_server" { &beside } else { trial };
            text.block(&front, &frame, Some(trial));
        } else if trial.block == "real" {
            let mut inner = Text::default();
            inner.block("real_server 192.0.2.21 80", &[check], Some(trial));
            let mut frame = service.to_vec();
            frame.push(inner.0.trim_end());
            text.block(&front, &frame, None);
        } else if CHECKS.contains(&trial.block) {
            let mut inner = Text::default();
            let frame: &[&str] = match trial.block {
                "HTTP_GET" | "SSL_GET" => &["url {\npath /\n}"],
                "MISC_CHECK" => &["misc_path /bin/true", "misc_timeout 3"],
                "FILE_CHECK" => &["track_file f"],
                _ => &[],
            };
            inner.block(trial.block, frame, Some(trial));
            let real = real(inner.0.trim_end());
            let mut frame = service.to_vec();
            frame.push(&real);
            text.block(&front, &frame, None);
        }
    }
    File::new(name, "", text.0.into_bytes())
}

/// A sequence of numbers that a seed gives (an LCG: its low bits are not used).
struct Random(u64);

impl Random {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or_default() % count.max(1)
    }
}

/// Files whose objects have several statements each, right ones more often than wrong ones, in an order by
/// chance.
pub(crate) fn generated(seed: u64, count: usize) -> Vec<File> {
    let table = table();
    let mut random = Random(seed);
    let mut files = Vec::new();
    for number in 0..count {
        let mut trials = Vec::new();
        let check = CHECKS[random.below(CHECKS.len() - 1)];
        for block in [
            "global", "instance", "instance", "instance", "script", "service", "service", "real", check,
            check,
        ] {
            let of_block: Vec<&Entry> = table
                .iter()
                .filter(|entry| entry.block == block || (entry.block == "check" && block == check))
                // Several track files make keepalived crash.
                .filter(|entry| entry.keyword != "track_file")
                .collect();
            let mut lines = Vec::new();
            for _ in 0..2 + random.below(6) {
                let entry = of_block[random.below(of_block.len())];
                let values =
                    if random.below(4) == 0 && !entry.bad.is_empty() { &entry.bad } else { &entry.good };
                let value = values.get(random.below(values.len())).map_or("", String::as_str);
                lines.push(statement(entry.keyword, value));
            }
            trials.push(Trial { block, keyword: "", text: lines.join("\n"), beside: true });
        }
        let name = format!("generated-{seed}-{number}");
        let mut file = file_of(&name, &trials);
        let part =
            |(part, trial): (usize, &Trial)| file_of(&format!("{name}.{part}"), std::slice::from_ref(trial));
        file.parts = trials.iter().enumerate().map(part).collect();
        files.push(file);
    }
    files
}
