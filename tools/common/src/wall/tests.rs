use plim_seccomp::Errno;

use super::*;

fn cell(name: &str, number: u32, answer: Answer) -> Cell {
    Cell { name: name.to_owned(), number: Some(number), answer, before: None, changed: false }
}

fn wall() -> Wall {
    let eperm = Action::Errno(Errno::EPERM);
    let socket = Answer::conditional(
        [eperm, Action::Allow],
        vec![
            "SCMP_ACT_ALLOW when family != AF_VSOCK".to_owned(),
            "SCMP_ACT_ERRNO (EPERM) otherwise".to_owned(),
        ],
    );
    Wall {
        title: "preset:<evil> & \"co\"\u{1b}[2J".to_owned(),
        remarks: vec!["every other architecture: SCMP_ACT_KILL_THREAD".to_owned()],
        blocks: vec![Block {
            title: "x86_64".to_owned(),
            remarks: Vec::new(),
            cells: vec![
                cell("read", 0, Answer::always(Action::Allow)),
                cell("socket", 41, socket),
                cell("bpf", 321, Answer::always(eperm)),
                cell("a_name_that_is_longer_than_its_cell", 9, Answer::always(Action::KillProcess)),
            ],
        }],
        tables: Vec::new(),
    }
}

/// A reader that knows just enough of XML to see that tags close in order and that nothing is left unescaped.
fn assert_well_formed(text: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        let (before, tag) = rest.split_at(start);
        for part in before.split('&').skip(1) {
            let name = part.split(';').next().unwrap_or_default();
            assert!(["amp", "lt", "gt", "quot", "#39"].contains(&name), "{part:.20}");
        }
        let end = tag.find('>').expect("a tag ends");
        let (inside, after) = (&tag[1..end], &tag[end + 1..]);
        let name = inside.trim_start_matches('/').split([' ', '/']).next().unwrap_or_default();
        let void = inside.ends_with('/') || inside.starts_with('!') || name == "meta" || name == "br";
        if inside.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "{}", &inside[..inside.len().min(60)]);
        } else if !void {
            open.push(name);
        }
        rest = after;
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn everything_is_escaped_and_closed() {
    for text in [svg(&wall()), html(&wall())] {
        assert_well_formed(&text);
        assert!(!text.contains('\u{1b}') && !text.contains("<evil>"), "{text}");
        assert!(!text.contains("<script") && !text.contains("href"), "nothing is run or loaded");
        assert!(text.contains("preset:&lt;evil&gt; &amp; &quot;co&quot;\\u{1b}[2J"), "{text}");
    }
}

#[test]
fn a_conditional_cell_is_hatched_and_says_why() {
    let text = svg(&wall());
    assert!(text.contains("<pattern id=\"plim-allow-errno\""), "{text}");
    let socket =
        text.lines().skip_while(|line| !line.contains("<title>socket (41)")).take(3).collect::<String>();
    assert!(socket.contains("url(#plim-allow-errno)") && socket.contains("family != AF_VSOCK"), "{socket}");
    assert!(
        text.contains(
            "4 calls: 1 SCMP_ACT_ALLOW, 1 SCMP_ACT_ERRNO (EPERM), 1 SCMP_ACT_KILL_PROCESS, 1 decided"
        )
    );
    assert!(
        html(&wall()).contains("<td>socket</td><td>41</td><td>SCMP_ACT_ALLOW when family"),
        "in words as well"
    );
}

#[test]
fn in_a_difference_the_changed_cells_stand_out() {
    let mut wall = wall();
    for cell in &mut wall.blocks[0].cells {
        cell.before = Some(cell.answer.clone());
    }
    wall.blocks[0].cells[2].before = Some(Answer::always(Action::Allow));
    wall.blocks[0].cells[2].changed = true;
    let text = svg(&wall);
    assert_well_formed(&text);
    assert_eq!(text.matches("class=\"cell same\"").count(), 3);
    assert_eq!(text.matches("class=\"edge\"").count(), 1);
    assert!(
        text.contains("1 of 4 calls differ") && text.contains("bpf (321)\nA:\nSCMP_ACT_ALLOW\nB:\n"),
        "{text}"
    );
    let page = html(&wall);
    assert!(
        page.contains("<td>bpf</td><td>321</td><td>SCMP_ACT_ALLOW</td><td>SCMP_ACT_ERRNO (EPERM)</td>"),
        "{page}"
    );
    assert!(!page.contains("<td>read</td>"));
}

#[test]
fn a_page_has_words_of_its_own() {
    let words = Words {
        heading: "changes".to_owned(),
        columns: vec!["what".to_owned()],
        rows: vec![vec!["<b>\nsecond line".to_owned()]],
    };
    let page = html(&Wall { tables: vec![words], ..wall() });
    assert_well_formed(&page);
    assert!(
        page.contains("<td>&lt;b&gt;<br>second line</td>") && !page.contains("calls that arguments decide")
    );
}

#[test]
fn an_empty_wall_is_a_picture_too() {
    assert_well_formed(&svg(&Wall::default()));
    let block = Block { title: "x32".to_owned(), remarks: vec!["all killed".to_owned()], cells: Vec::new() };
    assert_well_formed(&html(&Wall { blocks: vec![block], ..Wall::default() }));
}
