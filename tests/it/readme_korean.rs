//! `README.ko.md` is the Korean translation of `README.md`, and this test fails when one changes without the other.
//! It cannot compare sentences, so it compares what a translation leaves as it is: the levels of the headings and the
//! blocks of code, in order; and for each section the inline code, the targets of links, the figures, and the number
//! of paragraphs, list items and table rows. Within a section the order is free, because the word order differs.
//!
//! Anchors are not compared, because those of headings are translated: `scripts/check-deploy names` checks that they
//! exist. Only digits are figures: write "1 s" in English where Korean needs a digit, and "두 개" for "two".

use std::fs;

/// A page as far as a translation leaves it as it is.
struct Page {
    /// With the language, and without the closing fence.
    fences: Vec<String>,
    /// The first one is what stands before the first heading: nothing.
    sections: Vec<Section>,
}

struct Section {
    heading: String,
    level: usize,
    /// Paragraphs, list items and table rows.
    blocks: usize,
    code: Vec<String>,
    links: Vec<String>,
    figures: Vec<String>,
}

impl Page {
    fn read(text: &str) -> Self {
        let text = format!("\n{text}");
        let pieces: Vec<&str> = text.split("\n```").collect();
        let prose: Vec<&str> = pieces.iter().copied().step_by(2).collect();
        let fences = pieces.iter().skip(1).step_by(2);
        Self {
            fences: fences.map(|fence| (*fence).to_owned()).collect(),
            sections: prose.join("\n").split("\n#").map(Section::read).collect(),
        }
    }

    fn levels(&self) -> Vec<usize> {
        self.sections.iter().map(|section| section.level).collect()
    }
}

impl Section {
    /// `text` starts after the first `#` of its heading.
    fn read(text: &str) -> Self {
        let pieces: Vec<&str> = text.split('`').collect();
        let code = pieces.iter().skip(1).step_by(2).map(|code| {
            let words: Vec<&str> = code.split_whitespace().collect();
            words.join(" ")
        });
        let prose: Vec<&str> = pieces.iter().copied().step_by(2).collect();
        let (prose, links) = without_links(&prose.join(" "));
        let heading = text.lines().next().unwrap_or_default();
        Self {
            heading: heading.trim_start_matches('#').trim().to_owned(),
            level: 1 + text.chars().take_while(|one| *one == '#').count(),
            blocks: blocks(text),
            code: code.collect(),
            links,
            figures: figures(&prose),
        }
    }
}

fn blocks(text: &str) -> usize {
    let mut count = 0;
    let mut after_blank = true;
    for line in text.lines() {
        let is_item = line.starts_with('|') || line.starts_with("- ");
        if !line.is_empty() && (after_blank || is_item) {
            count += 1;
        }
        after_blank = line.is_empty();
    }
    count
}

/// The text without the targets of its links, and the targets without their anchors.
fn without_links(prose: &str) -> (String, Vec<String>) {
    let prose = prose.replace("<http", "](http");
    let mut parts = prose.split("](");
    let mut text = parts.next().unwrap_or_default().to_owned();
    let mut links = Vec::new();
    for part in parts {
        let (target, after) = part.split_once([')', '>']).unwrap_or((part, ""));
        let file = target.split_once('#').map_or(target, |(file, _)| file);
        // Each page links to the other one.
        let is_language = file == "README.md" || file == "README.ko.md";
        let file = if is_language { "README" } else { file };
        links.push(file.to_owned());
        text.push(' ');
        text.push_str(after);
    }
    (text, links)
}

/// The numbers of a text, without the separators of thousands.
fn figures(text: &str) -> Vec<String> {
    let runs = text.split(|one: char| !(one.is_ascii_digit() || one == ',' || one == '.'));
    let figures = runs.map(|run| run.trim_matches([',', '.']).replace(',', ""));
    figures.filter(|figure| !figure.is_empty()).collect()
}

/// Those of `these` that `others` lacks; two of `these` need two of `others`.
fn lacking<'a>(these: &'a [String], others: &[String]) -> Vec<&'a String> {
    let mut others = others.to_vec();
    let mut missing: Vec<&String> = these.iter().collect();
    missing.retain(|one| {
        let found = others.iter().position(|other| other == *one);
        found.map(|at| others.swap_remove(at)).is_none()
    });
    missing
}

fn differences(english: &str, korean: &str) -> Vec<String> {
    let (english, korean) = (Page::read(english), Page::read(korean));
    let (levels, translated) = (english.levels(), korean.levels());
    if levels != translated {
        let difference = format!("levels of headings: English {levels:?}, Korean {translated:?}");
        return vec![difference];
    }
    let mut found = Vec::new();
    if english.fences != korean.fences {
        let only_english = lacking(&english.fences, &korean.fences);
        let only_korean = lacking(&korean.fences, &english.fences);
        found.push(format!(
            "blocks of code, or their order: only in English {only_english:?}, only in Korean {only_korean:?}"
        ));
    }
    for (english, korean) in english.sections.iter().zip(&korean.sections) {
        let heading = &english.heading;
        if english.blocks != korean.blocks {
            found.push(format!(
                "{heading}: paragraphs, items and rows: English {}, Korean {}",
                english.blocks, korean.blocks
            ));
        }
        for (what, english, korean) in [
            ("inline code", &english.code, &korean.code),
            ("links", &english.links, &korean.links),
            ("figures", &english.figures, &korean.figures),
        ] {
            let only_english = lacking(english, korean);
            let only_korean = lacking(korean, english);
            if !only_english.is_empty() || !only_korean.is_empty() {
                found.push(format!(
                    "{heading}: {what}: only in English {only_english:?}, only in Korean {only_korean:?}"
                ));
            }
        }
    }
    found
}

#[test]
fn the_korean_readme_matches_the_english_one() {
    let english = fs::read_to_string("README.md").unwrap();
    let korean = fs::read_to_string("README.ko.md").unwrap();
    assert_eq!(english.lines().nth(2), Some("[한국어](README.ko.md)"));
    assert_eq!(korean.lines().nth(2), Some("[English](README.md)"));
    let sections = Page::read(&english).sections;
    assert!(sections.len() > 10, "the page was not understood");
    let differences = differences(&english, &korean);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

const ENGLISH: &str = "# Sale\n\n[한국어](README.ko.md)\n\nIt sells 1,000 units in 0.2 s with `sell --all`.\n\n\
    ```sh\nmake sale\n```\n\n## Limits\n\n- `limit` is 7; see [limits](docs/limits.md#default).\n- It is fair.\n";
const KOREAN: &str = "# 판매\n\n[English](README.md)\n\n`sell --all`은 0.2초에 1,000개를 팝니다.\n\n\
    ```sh\nmake sale\n```\n\n## 한도\n\n- [한도](docs/limits.md)를 보세요. `limit`은 7입니다.\n- 공정합니다.\n";

#[test]
fn a_difference_between_the_pages_is_found() {
    assert_eq!(differences(ENGLISH, KOREAN), Vec::<String>::new());
    for (from, to, what) in [
        ("make sale", "make sales", "blocks of code"),
        ("```sh\nmake sale\n```\n\n", "", "blocks of code"),
        ("\n## 한도\n", "", "levels of headings"),
        ("## 한도", "### 한도", "levels of headings"),
        ("sell --all", "sell", "inline code"),
        ("`limit`은", "한도는", "inline code"),
        ("docs/limits.md", "docs/limit.md", "links"),
        ("1,000", "10,000", "figures"),
        ("0.2", "0.3", "figures"),
        ("7입니다", "7입니다. 7입니다", "figures"),
        ("- 공정합니다.\n", "", "paragraphs, items and rows"),
    ] {
        assert!(KOREAN.contains(from), "{from}");
        let found = differences(ENGLISH, &KOREAN.replace(from, to)).join("\n");
        assert!(found.contains(what), "{from} as {to}: {found:?}");
    }
}
