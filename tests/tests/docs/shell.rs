//! Command lines as a shell would take them apart, as far as the documents use one. Nothing is run.

/// The commands of a text: of `a | b > c` they are `a` and `b`. Continued lines are one line, comments are
/// nothing, and so is what an output is led to.
pub(crate) fn commands(text: &str) -> Vec<Vec<String>> {
    let mut commands: Vec<Vec<String>> = vec![Vec::new()];
    let mut word: Option<String> = None;
    // The next word is a file that input comes from or output goes to.
    let mut redirected = false;
    let mut quote: Option<char> = None;
    let joined = text.replace("\\\n", " ");
    let mut letters = joined.chars().peekable();
    let end = |word: &mut Option<String>, redirected: &mut bool, commands: &mut Vec<Vec<String>>| {
        let Some(word) = word.take() else { return };
        if std::mem::take(redirected) {
            return;
        }
        commands.last_mut().expect("never empty").push(word);
    };
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some(open), letter) if letter == open => quote = None,
            (Some(_), letter) => word.get_or_insert_default().push(letter),
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, '\\') => word.get_or_insert_default().extend(letters.next()),
            (None, '#') if word.is_none() => while letters.next_if(|letter| *letter != '\n').is_some() {},
            (None, '>' | '<') => {
                // In `2>` the digit is no word.
                word = word.filter(|word| word != "2");
                end(&mut word, &mut redirected, &mut commands);
                redirected = true;
            }
            (None, '|' | '&' | ';' | '\n') => {
                end(&mut word, &mut redirected, &mut commands);
                commands.push(Vec::new());
            }
            (None, letter) if letter.is_whitespace() => end(&mut word, &mut redirected, &mut commands),
            (None, letter) => word.get_or_insert_default().push(letter),
        }
    }
    end(&mut word, &mut redirected, &mut commands);
    for command in &mut commands {
        // What a command is started by, and what is set for it.
        while command.first().is_some_and(|word| word == "sudo" || is_setting(word)) {
            command.remove(0);
        }
    }
    commands.retain(|command| !command.is_empty());
    commands
}

/// `NAME=value`.
fn is_setting(word: &str) -> bool {
    let name = word.split_once('=').map_or("", |(name, _)| name);
    !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

#[test]
fn lines_are_taken_apart_as_by_a_shell() {
    let text = "A_B=1 evenkeel plan 'a b' \\\n  --host x  # why\ngit show x:y | evenkeel validate - 2> log > \
        out.txt && sudo evenkeeld status; evenkeel fmt - < in\n";
    let found = commands(text);
    let found: Vec<String> = found.iter().map(|words| words.join("·")).collect();
    assert_eq!(
        found,
        [
            "evenkeel·plan·a b·--host·x",
            "git·show·x:y",
            "evenkeel·validate·-",
            "evenkeeld·status",
            "evenkeel·fmt·-"
        ]
    );
    assert_eq!(commands("jq '.a | .b' x#y"), [["jq", ".a | .b", "x#y"]]);
}
