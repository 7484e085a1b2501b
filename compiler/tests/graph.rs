//! Pictures of a small and a large cluster, as they were when somebody last looked at them.
//!
//! `UPDATE=1 cargo test -p evenkeel --test graph` draws them anew; open the SVG files in a browser then.
#![allow(clippy::disallowed_methods, reason = "reads and writes its pictures")]

use std::path::{Path, PathBuf};

use evenkeel::graph::{Graph, mermaid, svg};
use evenkeel::{SourceFile, compile};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/graph")
}

fn picture(file: &Path) -> Graph {
    let text = std::fs::read_to_string(file).expect("a cluster file");
    let compilation = compile(&SourceFile::new("cluster.toml", text));
    Graph::of(compilation.cluster.as_ref().expect("a valid cluster"))
}

fn clusters() -> [(&'static str, PathBuf); 3] {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/lvs-dr/cluster.toml");
    [("lvs-dr", example), ("forty", folder().join("forty.toml")), ("groups", folder().join("groups.toml"))]
}

#[test]
fn a_sorry_server_is_in_the_picture() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/lvs-dr/cluster.toml");
    let mut text = std::fs::read_to_string(example).expect("the example");
    let draw = |text: &str| {
        let compilation = compile(&SourceFile::new("cluster.toml", text));
        mermaid(&Graph::of(compilation.cluster.as_ref().expect("a valid cluster")))
    };
    assert!(!draw(&text).contains("sorry"), "there is none");
    text.push_str("sorry_server = { host = \"rs2\" }\n");
    assert!(draw(&text).contains("<br>sorry server rs2"), "{}", draw(&text));
    let outside = text.replace("{ host = \"rs2\" }", "{ address = \"192.168.188.99\" }");
    assert!(draw(&outside).contains("<br>sorry server 192.168.188.99"));
}

#[test]
fn pictures_are_as_they_were_looked_at() {
    for (name, file) in clusters() {
        let graph = picture(&file);
        for (extension, text) in [("svg", svg(&graph)), ("mmd", mermaid(&graph))] {
            let kept = folder().join(format!("{name}.{extension}"));
            if std::env::var_os("UPDATE").is_some() {
                std::fs::write(&kept, &text).expect("a picture");
            }
            let expected = std::fs::read_to_string(&kept).unwrap_or_default();
            assert!(text == expected, "{} is not what is drawn: look, then UPDATE=1", kept.display());
        }
    }
}

/// What a reader needs: no box covers another, all of it is on the page, every host and service is named.
#[test]
fn nothing_overlaps_and_nothing_is_missing() {
    for (name, file) in clusters() {
        let text = svg(&picture(&file));
        let document = roxmltree::Document::parse(&text).expect("well-formed XML");
        let number = |node: &roxmltree::Node<'_, '_>, key: &str| -> f64 {
            node.attribute(key).and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{key}"))
        };
        let page = document.root_element();
        let boxes: Vec<[f64; 4]> = document
            .descendants()
            .filter(|node| node.has_tag_name((page.tag_name().namespace().unwrap_or_default(), "rect")))
            .filter(|node| !matches!(node.attribute("class"), Some("background" | "frame")))
            .map(|node| ["x", "y", "width", "height"].map(|key| number(&node, key)))
            .collect();
        assert!(boxes.len() >= 5, "{name}: {boxes:?}");
        for (index, [x, y, width, height]) in boxes.iter().enumerate() {
            assert!(x + width <= number(&page, "width") && y + height <= number(&page, "height"), "{name}");
            for [other_x, other_y, other_width, other_height] in &boxes[index + 1..] {
                let apart = x + width <= *other_x
                    || other_x + other_width <= *x
                    || y + height <= *other_y
                    || other_y + other_height <= *y;
                assert!(apart, "{name}: two boxes overlap");
            }
        }
        let frames: Vec<[f64; 4]> = document
            .descendants()
            .filter(|node| node.attribute("class") == Some("frame"))
            .map(|node| ["x", "y", "width", "height"].map(|key| number(&node, key)))
            .collect();
        for [x, y, width, height] in &frames {
            assert!(x + width <= number(&page, "width") && y + height <= number(&page, "height"), "{name}");
            let inside =
                |[a, b, w, h]: &&[f64; 4]| *a >= *x && *b >= *y && a + w <= x + width && b + h <= y + height;
            let outside =
                |[a, b, w, h]: &&[f64; 4]| a + w <= *x || x + width <= *a || b + h <= *y || y + height <= *b;
            let members = boxes.iter().filter(inside).count();
            assert!(members > 1 && members + boxes.iter().filter(outside).count() == boxes.len(), "{name}");
        }
        let source = std::fs::read_to_string(&file).expect("a cluster file");
        let cluster: toml::Table = source.parse().expect("TOML");
        let groups = cluster.get("sync_groups").and_then(toml::Value::as_table).map_or(0, toml::Table::len);
        assert_eq!(frames.len(), groups, "{name}: a frame for each sync group");
        for section in ["hosts", "services", "virtual_routers", "sync_groups"] {
            for object in cluster
                .get(section)
                .and_then(toml::Value::as_table)
                .into_iter()
                .flat_map(|table| table.keys())
            {
                assert!(text.contains(object.as_str()), "{name}: `{object}` is not in the picture");
            }
        }
    }
}

/// A cluster in which `services` services reach `groups` groups of real servers each: no two groups are in
/// the same services.
fn crowd(groups: usize, services: usize, long: bool) -> String {
    let name = |kind: &str, number: usize| {
        if long {
            format!("{kind}{number}-with-a-name-as-long-as-names-may-be-in-a-cluster")
        } else {
            format!("{kind}{number}")
        }
    };
    let mut text = String::from(
        "version = 1\nname = \"crowd\"\n[segments.front]\nsubnets = [\"10.0.0.0/16\"]\n\
         [hosts.dir1]\naddress = \"10.0.0.1\"\ninterface = \"eth0\"\n\
         [hosts.dir2]\naddress = \"10.0.0.2\"\ninterface = \"eth0\"\n\
         [virtual_routers.edge]\nvrid = 1\nvips = [\"10.0.0.100\"]\ndirectors = [\"dir1\", \"dir2\"]\n",
    );
    for group in 0..groups {
        let host = name("real", group);
        text += &format!("[hosts.{host}]\naddress = \"10.0.1.{}\"\ninterface = \"eth0\"\n", group + 1);
        // A service of its own makes a group of it.
        text += &format!(
            "[services.{}]\nrouter = \"edge\"\nprotocol = \"tcp\"\nport = {}\nreal_servers = [{{ host \
            = \"{host}\" }}]\n",
            name("only", group),
            1000 + group
        );
    }
    for service in 0..services {
        let real: Vec<String> = (0..groups)
            .map(|group| format!("{{ host = \"{}\", weight = {} }}", name("real", group), 1 + service))
            .collect();
        text += &format!(
            "[services.{}]\nrouter = \"edge\"\nprotocol = \"tcp\"\nport = {}\nreal_servers = [{}]\n",
            name("all", service),
            2000 + service,
            real.join(", ")
        );
    }
    text
}

/// The room that a text takes: left, top, right, bottom.
fn room(text: &roxmltree::Node<'_, '_>) -> [f64; 4] {
    let number = |key: &str| text.attribute(key).and_then(|text| text.parse::<f64>().ok()).expect("a number");
    #[allow(clippy::cast_precision_loss, reason = "a few characters")]
    let width = text.text().expect("words").chars().count() as f64 * 7.2;
    let left =
        if text.attribute("text-anchor") == Some("middle") { number("x") - width / 2.0 } else { number("x") };
    [left, number("y") - 11.0, left + width, number("y") + 4.0]
}

/// Words on lines, and everything else that is written, have room of their own, on the page and beside the
/// boxes.
#[test]
fn words_are_never_written_over_others() {
    let mut seen = 0;
    for (groups, services, long) in (1..=8)
        .flat_map(|groups| (0..=4).map(move |services| (groups, services)))
        .chain([(30, 12), (1, 40), (40, 1)])
        .flat_map(|(groups, services)| [(groups, services, false), (groups, services, true)])
    {
        let case = format!("{groups} groups, {services} services, long names: {long}");
        let compilation = compile(&SourceFile::new("cluster.toml", crowd(groups, services, long)));
        let text = svg(&Graph::of(
            compilation.cluster.as_ref().unwrap_or_else(|| panic!("{:?}", compilation.diagnostics)),
        ));
        let document = roxmltree::Document::parse(&text).expect("well-formed XML");
        let page = |key: &str| {
            document.root_element().attribute(key).and_then(|text| text.parse::<f64>().ok()).expect("a size")
        };
        let texts: Vec<_> = document.descendants().filter(|node| node.tag_name().name() == "text").collect();
        let boxes: Vec<[f64; 4]> = document
            .descendants()
            .filter(|node| node.tag_name().name() == "rect" && node.attribute("class") != Some("background"))
            .map(|node| {
                let [x, y, width, height] = ["x", "y", "width", "height"].map(|key| {
                    node.attribute(key).and_then(|text| text.parse::<f64>().ok()).expect("a number")
                });
                [x, y, x + width, y + height]
            })
            .collect();
        let meet = |one: &[f64; 4], other: &[f64; 4]| {
            one[0] < other[2] && other[0] < one[2] && one[1] < other[3] && other[1] < one[3]
        };
        for (index, text) in texts.iter().enumerate() {
            let here = room(text);
            let is_on_page =
                here[0] >= 0.0 && here[1] >= 0.0 && here[2] <= page("width") && here[3] <= page("height");
            assert!(is_on_page, "{case}: {:?} is not on the page", text.text());
            for other in &texts[index + 1..] {
                assert!(
                    !meet(&here, &room(other)),
                    "{case}: {:?} over {:?} at {here:?}",
                    text.text(),
                    other.text()
                );
            }
            if text.attribute("text-anchor") == Some("middle") {
                seen += 1;
                assert!(!boxes.iter().any(|area| meet(&here, area)), "{case}: {:?} over a box", text.text());
            }
        }
    }
    assert!(seen > 1000, "only {seen} words on lines");
}
