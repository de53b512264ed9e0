//! The imports between the modules and files of `src`, read from the paths in each file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A module path below the crate: `["parts", "store"]`.
type Module = Vec<String>;

/// One file of `src`.
struct File {
    text: String,
    /// The names that its `use` items import, each with its absolute path.
    imports: BTreeMap<String, Module>,
    /// The absolute paths that it uses itself, without mere re-exports.
    needs: BTreeSet<Module>,
}

/// The files of `src` by module; the crate's root is the empty path.
pub struct Graph {
    files: BTreeMap<Module, File>,
}

impl Graph {
    pub fn read(source: &Path) -> Self {
        let mut files = BTreeMap::new();
        for path in rust_files(source) {
            let module = module_of(&path, source);
            let is_program = module == ["main"];
            let is_test = module.iter().any(|part| part == "tests" || part == "fuzz");
            if is_program || is_test {
                continue;
            }
            let text = without_tests(&fs::read_to_string(&path).unwrap());
            let file = File {
                text,
                imports: BTreeMap::new(),
                needs: BTreeSet::new(),
            };
            files.insert(
                if module == ["lib"] {
                    Vec::new()
                } else {
                    module
                },
                file,
            );
        }
        let mut graph = Self { files };
        graph.link();
        graph
    }

    /// Finds the imports and the paths of each file.
    fn link(&mut self) {
        let modules: BTreeSet<Module> = self.files.keys().cloned().collect();
        for (module, file) in &mut self.files {
            for found in paths(&file.text) {
                let Some(path) = absolute(&found.path, module, &modules) else {
                    continue;
                };
                if let Some(name) = &found.brings_in {
                    file.imports.insert(name.clone(), path.clone());
                }
                if !found.is_exported {
                    file.needs.insert(path);
                }
            }
        }
    }

    /// The module whose file defines the item of a path; re-exports are followed.
    fn definition(&self, path: &[String], depth: usize) -> Option<Module> {
        let mut known = path.len();
        while !self.files.contains_key(&path[..known]) {
            known = known.checked_sub(1)?;
        }
        let (module, rest) = path.split_at(known);
        if let (Some(name), Some(depth)) = (rest.first(), depth.checked_sub(1))
            && let Some(target) = self.files[module].imports.get(name)
        {
            let further = target.iter().chain(&rest[1..]).cloned();
            return self.definition(&further.collect::<Module>(), depth);
        }
        Some(module.to_vec())
    }

    /// The modules that each module uses, by the files that define the items.
    pub fn edges(&self) -> BTreeMap<Module, BTreeSet<Module>> {
        let mut edges = BTreeMap::new();
        for (module, file) in &self.files {
            let named = file.needs.iter();
            let mut to: BTreeSet<Module> = named
                .filter_map(|path| self.definition(path, 8))
                .filter(|target| target != module && !target.is_empty())
                .collect();
            to.remove(module);
            edges.insert(module.clone(), to);
        }
        edges
    }

    /// Groups of files that use one another in a circle. A module and the files in its folder count as one
    /// unit, so a file may use items of the module above it.
    pub fn circles(&self) -> Vec<Vec<String>> {
        let mut edges = self.edges();
        for (module, to) in &mut edges {
            to.retain(|target| !module.starts_with(target));
        }
        let reach: BTreeMap<&Module, BTreeSet<&Module>> = edges
            .keys()
            .map(|module| (module, reachable(module, &edges)))
            .collect();
        let mut circles = BTreeSet::new();
        for (module, reached) in &reach {
            let group: Vec<String> = reached
                .iter()
                .filter(|other| reach.get(*other).is_some_and(|back| back.contains(module)))
                .map(|other| other.join("/"))
                .collect();
            if group.len() > 1 {
                circles.insert(group);
            }
        }
        circles.into_iter().collect()
    }
}

fn reachable<'a>(
    from: &Module,
    edges: &'a BTreeMap<Module, BTreeSet<Module>>,
) -> BTreeSet<&'a Module> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&Module> = edges[from].iter().collect();
    while let Some(module) = next.pop() {
        if reached.insert(module) {
            next.extend(&edges[module]);
        }
    }
    reached
}

pub fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

fn module_of(path: &Path, source: &Path) -> Module {
    let below = path.strip_prefix(source).unwrap().with_extension("");
    let parts = below.components();
    parts
        .map(|part| part.as_os_str().to_str().unwrap().to_owned())
        .collect()
}

/// The text without comments, and without everything after the first `#[cfg(test)]` of a module.
fn without_tests(text: &str) -> String {
    let mut kept = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let is_test = line.trim() == "#[cfg(test)]";
        if is_test && lines.peek().is_some_and(|next| next.contains("mod ")) {
            // `mod tests;` is one line; `mod tests { … }` extends to the end of the file.
            if lines
                .next()
                .is_some_and(|next| next.trim_end().ends_with('{'))
            {
                break;
            }
            continue;
        }
        kept.push_str(line.split("//").next().unwrap());
        kept.push('\n');
    }
    kept
}

/// A path in the text of a file.
struct Found {
    path: Vec<String>,
    /// The name that a `use` of it brings in.
    brings_in: Option<String>,
    is_exported: bool,
}

/// All paths in a text that lead through modules, `use` groups taken apart.
fn paths(text: &str) -> Vec<Found> {
    let mut found = Vec::new();
    let mut rest = text;
    let mut before = String::new();
    while !rest.is_empty() {
        let word: String = rest.chars().take_while(|c| is_word(*c)).collect();
        if word.is_empty() {
            let skipped = rest.chars().next().unwrap();
            before.push(skipped);
            rest = &rest[skipped.len_utf8()..];
            continue;
        }
        let is_head = !before.ends_with("::") && !before.ends_with('.');
        let after = &rest[word.len()..];
        if is_head && after.starts_with("::") {
            let statement = before.rsplit([';', '{', '}']).next().unwrap().trim();
            let is_use = statement == "use" || statement.ends_with(" use");
            let is_exported = is_use && statement.starts_with("pub");
            let mut tree = Vec::new();
            let length = leaves(rest, &mut Vec::new(), &mut tree);
            found.extend(tree.into_iter().map(|(path, name)| Found {
                path,
                brings_in: name.filter(|_| is_use),
                is_exported,
            }));
            before.push_str(&rest[..length]);
            rest = &rest[length..];
        } else {
            before.push_str(&word);
            rest = after;
        }
    }
    found
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Reads one path at the beginning of `text`, with its group if it ends in one; returns how long it is.
fn leaves(
    text: &str,
    prefix: &mut Vec<String>,
    out: &mut Vec<(Vec<String>, Option<String>)>,
) -> usize {
    let depth = prefix.len();
    let mut at = 0;
    loop {
        let rest = &text[at..];
        if rest.starts_with('{') {
            at += 1;
            loop {
                at += text[at..]
                    .find(|c: char| !c.is_whitespace() && c != ',')
                    .unwrap();
                if text[at..].starts_with('}') {
                    at += 1;
                    break;
                }
                let length = leaves(&text[at..], prefix, out);
                // Anything else than a path (an attribute, a `*`) is skipped.
                at += length.max(1);
            }
            break;
        }
        let word: String = rest.chars().take_while(|c| is_word(*c)).collect();
        at += word.len();
        let is_whole = !word.is_empty();
        if is_whole && (word != "self" || prefix.is_empty()) {
            prefix.push(word);
        }
        if is_whole && text[at..].starts_with("::") {
            at += 2;
            continue;
        }
        let alias = text[at..].trim_start().strip_prefix("as ").map(|rest| {
            let name = rest.trim_start();
            name.chars().take_while(|c| is_word(*c)).collect::<String>()
        });
        if prefix.len() > depth || is_whole {
            let name = alias.clone().or_else(|| prefix.last().cloned());
            out.push((prefix.clone(), name));
        }
        if let Some(alias) = alias {
            at += text[at..]
                .find(&alias)
                .map_or(0, |found| found + alias.len());
        }
        break;
    }
    prefix.truncate(depth);
    at
}

/// The path from the crate's root, if the path leads into the crate.
fn absolute(path: &[String], module: &Module, modules: &BTreeSet<Module>) -> Option<Module> {
    let (head, rest) = path.split_first()?;
    let mut base = match head.as_str() {
        "crate" => Vec::new(),
        "self" => module.clone(),
        "super" => module[..module.len().checked_sub(1)?].to_vec(),
        _ => {
            let mut child = module.clone();
            child.push(head.clone());
            return modules.contains(&child).then(|| {
                child.extend_from_slice(rest);
                child
            });
        }
    };
    for part in rest {
        if part == "super" {
            base.pop();
        } else {
            base.push(part.clone());
        }
    }
    Some(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let found = paths(text).into_iter();
        found.map(|found| found.path.join("::")).collect()
    }

    #[test]
    fn grouped_imports_are_expanded() {
        let text = "use crate::{gate::{self, Gate as G}, store}; let x = super::http::serve(1);";
        let expected = [
            "crate::gate",
            "crate::gate::Gate",
            "crate::store",
            "super::http::serve",
        ];
        assert_eq!(found(text), expected);
    }

    #[test]
    fn reexported_names_lead_to_their_definition() {
        let folder = tempfile::TempDir::new().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        fs::create_dir(folder.path().join("a")).unwrap();
        write("lib.rs", "pub mod a;\npub mod b;\n");
        write("a.rs", "mod c;\npub use c::Thing;\nuse crate::b::Other;\n");
        write("a/c.rs", "pub struct Thing;\n");
        write("b.rs", "use crate::a::Thing;\n");
        let graph = Graph::read(folder.path());
        let to = |module: &str| graph.edges()[&vec![module.to_owned()]].clone();
        assert_eq!(to("b"), [vec!["a".to_owned(), "c".to_owned()]].into());
        assert_eq!(to("a"), [vec!["b".to_owned()]].into());
        assert!(graph.circles().is_empty());
    }

    #[test]
    fn a_circle_of_files_is_detected() {
        let folder = tempfile::TempDir::new().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("lib.rs", "mod a;\nmod b;\n");
        write("a.rs", "use crate::b::B;\npub struct A;\n");
        write(
            "b.rs",
            "fn f(a: super::a::A) {}\n#[cfg(test)]\nmod tests {\n use crate::c;\n}\n",
        );
        let graph = Graph::read(folder.path());
        assert_eq!(graph.circles(), [["a", "b"]]);
    }
}
