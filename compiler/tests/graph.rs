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
