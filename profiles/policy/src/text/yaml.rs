//! YAML through saphyr's parser, with limits.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle};

use super::node::{Key, repeated_key};
use super::{Kind, Limits, Node, Place, TextError};

fn place(marker: Marker) -> Place {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Place { line: number(marker.line()), column: number(marker.col()).saturating_add(1) }
}

/// What an anchor names: where it begins while it is read, its value afterwards.
struct Anchored {
    node: Node,
    values: usize,
}

/// A sequence or mapping that is being read.
struct Open {
    at: Place,
    anchor: usize,
    values_before: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map { entries: Vec<(Key, Node)>, key: Option<Key>, merged: Vec<Node> },
}

struct Reader {
    limits: Limits,
    values: usize,
    repeated: usize,
    anchors: HashMap<usize, Anchored>,
    open: Vec<Open>,
    documents: Vec<Node>,
}

pub(super) fn read(text: &str, limits: Limits) -> Result<Vec<Node>, TextError> {
    let mut reader = Reader {
        limits,
        values: 0,
        repeated: 0,
        anchors: HashMap::new(),
        open: Vec::new(),
        documents: Vec::new(),
    };
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event
            .map_err(|error| TextError::new(place(*error.marker()), format!("not YAML: {}", error.info())))?;
        reader.take(event, place(span.start))?;
    }
    Ok(reader.documents)
}

impl Reader {
    fn take(&mut self, event: Event<'_>, at: Place) -> Result<(), TextError> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            // Anchors live as long as their document.
            Event::DocumentStart(_) => {
                self.anchors.clear();
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.count(1, at)?;
                // `!!str 5` is text as "5" is.
                let tagged = tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
                let quoted = style != ScalarStyle::Plain || tagged;
                let node = Node { at, kind: Kind::Scalar { text: text.into_owned(), quoted } };
                self.close(node, anchor, 1)
            }
            Event::SequenceStart(anchor, _) => self.open(at, anchor, Content::List(Vec::new())),
            Event::MappingStart(anchor, _) => {
                let content = Content::Map { entries: Vec::new(), key: None, merged: Vec::new() };
                self.open(at, anchor, content)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => self.alias(anchor, at),
        }
    }

    fn count(&mut self, values: usize, at: Place) -> Result<(), TextError> {
        self.values = self.values.saturating_add(values);
        if self.values > self.limits.values {
            return Err(TextError::new(at, format!("more than {} values", self.limits.values)));
        }
        Ok(())
    }

    fn open(&mut self, at: Place, anchor: usize, content: Content) -> Result<(), TextError> {
        self.count(1, at)?;
        if self.open.len() >= self.limits.depth {
            return Err(TextError::new(at, format!("nested more than {} deep", self.limits.depth)));
        }
        self.open.push(Open { at, anchor, values_before: self.values - 1, content });
        Ok(())
    }

    fn end(&mut self) -> Result<(), TextError> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let kind = match open.content {
            Content::List(items) => Kind::list(items),
            Content::Map { mut entries, merged, .. } => {
                repeated_key(&entries)?;
                if !merged.is_empty() {
                    let mut written = entries.iter().map(|(key, _)| key.text.clone()).collect();
                    for node in merged {
                        merge(&mut entries, &mut written, node)?;
                    }
                }
                Kind::map(entries)
            }
        };
        self.close(Node { at: open.at, kind }, open.anchor, self.values - open.values_before)
    }

    fn alias(&mut self, anchor: usize, at: Place) -> Result<(), TextError> {
        if self.limits.repeated == 0 {
            return Err(TextError::new(at, "aliases are not allowed here; write the value out"));
        }
        let Some(anchored) = self.anchors.get(&anchor) else {
            return Err(TextError::new(at, "an alias inside of the value that it names"));
        };
        let (values, node) = (anchored.values, &anchored.node);
        // Counted before it is copied.
        self.repeated = self.repeated.saturating_add(values);
        if self.repeated > self.limits.repeated {
            let what = format!("aliases repeat more than {} values", self.limits.repeated);
            return Err(TextError::new(at, what));
        }
        let node = Node { at, kind: node.kind.clone() };
        self.values += values;
        self.close(node, 0, values)
    }

    /// A value is whole: it goes where it belongs.
    fn close(&mut self, node: Node, anchor: usize, values: usize) -> Result<(), TextError> {
        if anchor != 0 && self.limits.repeated != 0 {
            // The copy that the anchor keeps costs as much as the value; anchors inside of anchors add up.
            self.count(values, node.at)?;
            self.anchors.insert(anchor, Anchored { node: node.clone(), values });
        }
        let Some(open) = self.open.last_mut() else {
            if !node.is_null() {
                self.documents.push(node);
            }
            return Ok(());
        };
        match &mut open.content {
            Content::List(items) => items.push(node),
            Content::Map { entries, key, merged } => match key.take() {
                None => *key = Some(as_key(node)?),
                Some(name) if name.text == "<<" => {
                    if self.limits.repeated == 0 {
                        return Err(TextError::new(
                            name.at,
                            "merge keys are not allowed here; write the value out",
                        ));
                    }
                    merged.push(node);
                }
                Some(name) => entries.push((name, node)),
            },
        }
        Ok(())
    }
}

fn as_key(node: Node) -> Result<Key, TextError> {
    match node.kind {
        Kind::Scalar { text, .. } => Ok(Key { text, at: node.at }),
        Kind::List(_) | Kind::Map(_) => {
            Err(TextError::new(node.at, format!("found {} as a key, expected text", node.describe())))
        }
    }
}

/// `<<`: entries of another mapping, or of several, that are not written here.
fn merge(entries: &mut Vec<(Key, Node)>, written: &mut HashSet<String>, from: Node) -> Result<(), TextError> {
    match from.kind {
        Kind::Map(others) => {
            for (key, value) in others {
                if written.insert(key.text.clone()) {
                    entries.push((key, value));
                }
            }
            Ok(())
        }
        Kind::List(items) => items.into_iter().try_for_each(|item| merge(entries, written, item)),
        Kind::Scalar { .. } => {
            Err(TextError::new(from.at, format!("<<: found {}, expected a mapping", from.describe())))
        }
    }
}
