//! Patterns of names: `*` is any letters, `?` one, everything else itself.

/// One pattern.
///
/// ```
/// use plim_policy::rules::Glob;
/// assert!(Glob::new("registry/*:1.?").matches("registry/a/b:1.2"));
/// assert!(!Glob::new("web").matches("web2"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(String);

impl Glob {
    /// From its text; every text is a pattern.
    pub fn new(text: &str) -> Glob {
        Glob(text.to_owned())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the whole text is of the pattern. Time is at most the product of both lengths.
    pub fn matches(&self, text: &str) -> bool {
        let (pattern, text): (Vec<char>, Vec<char>) = (self.0.chars().collect(), text.chars().collect());
        let (mut p, mut t) = (0, 0);
        // Where the last star stands, and how far it has eaten.
        let mut star: Option<(usize, usize)> = None;
        while t < text.len() {
            match pattern.get(p) {
                Some('*') => {
                    star = Some((p, t));
                    p += 1;
                }
                Some(letter) if *letter == '?' || *letter == text[t] => {
                    p += 1;
                    t += 1;
                }
                _ => match star {
                    Some((at, eaten)) => {
                        p = at + 1;
                        t = eaten + 1;
                        star = Some((at, t));
                    }
                    None => return false,
                },
            }
        }
        pattern[p..].iter().all(|letter| *letter == '*')
    }
}
