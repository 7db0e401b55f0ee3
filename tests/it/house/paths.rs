//! Reads the paths in Rust source: those of `use` items, and those in the code itself. What only tests compile is left
//! out.

/// A path as a file writes it.
pub(super) struct Path {
    pub(super) line: usize,
    /// The modules within the file that the path stands in.
    pub(super) inside: Vec<String>,
    /// Such as `super`, `keys`, `field`.
    pub(super) segments: Vec<String>,
    pub(super) kind: Kind,
}

pub(super) enum Kind {
    /// A `use` item, and the name that it gives the thing. `*` gives none.
    Use(Option<String>),
    Code,
}

pub(super) fn paths(source: &str) -> Vec<Path> {
    let mut reader = Reader { tokens: tokens(source), at: 0, depth: 0, modules: Vec::new(), paths: Vec::new() };
    reader.read();
    reader.paths
}

struct Reader<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
    /// How many braces are open.
    depth: usize,
    /// The modules around the next token, each with the depth at which it began.
    modules: Vec<(&'a str, usize)>,
    paths: Vec<Path>,
}

impl<'a> Reader<'a> {
    fn read(&mut self) {
        while self.at < self.tokens.len() {
            let before = if self.at == 0 { "" } else { self.tokens[self.at - 1].text };
            let text = self.next();
            match text {
                "#" if self.is_for_tests_only() => self.skip_item(),
                "pub" if self.peek(0) == "(" => self.skip_group(),
                "use" => self.read_use(&[]),
                "mod" if self.peek(1) == "{" => self.modules.push((self.peek(0), self.depth)),
                "{" => self.depth += 1,
                "}" => {
                    self.depth -= 1;
                    self.modules.pop_if(|(_, depth)| *depth == self.depth);
                }
                _ if is_word(text) && self.peek(0) == "::" && !["::", "."].contains(&before) => self.read_path(text),
                _ => {}
            }
        }
    }

    /// The text of a later token; empty at the end of the file.
    fn peek(&self, ahead: usize) -> &'a str {
        self.tokens.get(self.at + ahead).map_or("", |token| token.text)
    }

    fn next(&mut self) -> &'a str {
        self.at += 1;
        self.tokens.get(self.at - 1).map_or("", |token| token.text)
    }

    /// After a `#`: whether an attribute follows that leaves an item to `cargo test`.
    fn is_for_tests_only(&self) -> bool {
        let texts: Vec<_> = (0..6).map(|ahead| self.peek(ahead)).collect();
        texts[..4] == ["[", "cfg", "(", "test"] || texts == ["[", "cfg", "(", "all", "(", "test"]
    }

    /// Skips to the item's `;` or the end of its block.
    fn skip_item(&mut self) {
        loop {
            match self.peek(0) {
                "{" => return self.skip_group(),
                "(" | "[" => self.skip_group(),
                _ if [";", ""].contains(&self.next()) => return,
                _ => {}
            }
        }
    }

    /// Skips a pair of brackets and what is in it.
    fn skip_group(&mut self) {
        let mut depth = 0;
        loop {
            match self.next() {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => depth -= 1,
                "" => return,
                _ => {}
            }
            if depth == 0 {
                return;
            }
        }
    }

    /// Reads one tree of a `use` item, such as `keys::{self, field as name}`.
    fn read_use(&mut self, prefix: &[String]) {
        let at = self.at;
        let mut segments = prefix.to_vec();
        let mut name = None;
        loop {
            match self.next() {
                "{" => {
                    while !["}", ""].contains(&self.peek(0)) {
                        self.read_use(&segments);
                        if self.peek(0) == "," {
                            self.next();
                        }
                    }
                    self.next();
                    return;
                }
                "*" => break,
                "self" if !segments.is_empty() => {}
                segment => segments.push(segment.to_owned()),
            }
            name = segments.last().cloned();
            if self.peek(0) != "::" {
                break;
            }
            self.next();
        }
        if self.peek(0) == "as" {
            self.next();
            name = Some(self.next().to_owned());
        }
        self.keep(at, segments, Kind::Use(name));
    }

    /// Reads a path in the code, after its first segment.
    fn read_path(&mut self, first: &str) {
        let at = self.at - 1;
        let mut segments = vec![first.to_owned()];
        while self.peek(0) == "::" && is_word(self.peek(1)) {
            self.next();
            segments.push(self.next().to_owned());
        }
        self.keep(at, segments, Kind::Code);
    }

    fn keep(&mut self, at: usize, segments: Vec<String>, kind: Kind) {
        let line = self.tokens.get(at).map_or(0, |token| token.line);
        let inside = self.modules.iter().map(|(name, _)| (*name).to_owned()).collect();
        self.paths.push(Path { line, inside, segments, kind });
    }
}

struct Token<'a> {
    line: usize,
    text: &'a str,
}

fn tokens(source: &str) -> Vec<Token<'_>> {
    let (mut tokens, mut rest, mut line) = (Vec::new(), source, 1);
    while let Some(first) = rest.chars().next() {
        let literal = comment(rest).or_else(|| string(rest)).or_else(|| character(rest));
        let length = literal.unwrap_or_else(|| match first {
            _ if is_word(&rest[..first.len_utf8()]) => rest.find(|c| !is_in_word(c)).unwrap_or(rest.len()),
            ':' if rest.starts_with("::") => 2,
            _ => first.len_utf8(),
        });
        let (text, after) = rest.split_at(length);
        if literal.is_none() && !first.is_whitespace() {
            tokens.push(Token { line, text });
        }
        line += text.matches('\n').count();
        rest = after;
    }
    tokens
}

fn is_in_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn is_word(text: &str) -> bool {
    text.starts_with(is_in_word)
}

/// The length of the comment at the beginning of `rest`.
fn comment(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    let (mut depth, mut at) = (0, 0);
    loop {
        match rest.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            _ if depth == 0 => return None,
            [b'*', b'/', ..] if depth == 1 => return Some(at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            [_, ..] => at += 1,
            [] => return Some(at),
        }
    }
}

/// The length of the string at the beginning of `rest`, raw or not.
fn string(rest: &str) -> Option<usize> {
    let prefix = rest.find(|c| !['b', 'c', 'r'].contains(&c))?;
    let hashes = rest[prefix..].find(|c| c != '#')?;
    let start = prefix + hashes + 1;
    let is_raw = rest[..prefix].ends_with('r');
    if !rest[start - 1..].starts_with('"') || hashes > 0 && !is_raw {
        return None;
    }
    if is_raw {
        let end = format!("\"{}", "#".repeat(hashes));
        return Some(start + rest[start..].find(&end)? + end.len());
    }
    let mut is_escaped = false;
    let is_end = |c| {
        let is_end = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        is_end
    };
    Some(start + rest[start..].find(is_end)? + 1)
}

/// The length of the character literal at the beginning of `rest`. A lifetime is not one.
fn character(rest: &str) -> Option<usize> {
    let inner = rest.strip_prefix('\'')?;
    let first = inner.chars().next()?;
    let length = if first == '\\' { 2 + inner.get(2..)?.find('\'')? } else { first.len_utf8() };
    inner[length..].starts_with('\'').then_some(length + 2)
}
