//! EK00xx: the file itself and its TOML syntax.

super::codes! {
    UNREADABLE = "EK0001" Error "the cluster file cannot be read":
        "The file does not exist, is a directory, or may not be read by this user. The message \
         carries the reason of the operating system.";
    NOT_UTF8 = "EK0002" Error "the file is not UTF-8":
        "A cluster file is TOML, and TOML is UTF-8. The message names the first byte that is not. \
         Usually an editor saved the file in another encoding, or another file was named.";
    NOT_TEXT = "EK0003" Error "the file is not text":
        "A NUL byte occurs in no text file. It comes from naming a binary file, or from a copy \
         that was interrupted and padded with zeros.";
    EMPTY = "EK0004" Error "the file is empty":
        "There is nothing but blank lines and comments. This is an error rather than a cluster \
         without hosts, because an empty file is what an interrupted write leaves behind.";
    TOO_LARGE = "EK0005" Error "the file is too large":
        "Files over 16 MiB are not read. A cluster of 100,000 real servers takes about 5 MB, so a \
         larger file is most likely not a cluster file. With `--untrusted` the limit is 1 MiB.";
    SYNTAX = "EK0006" Error "TOML syntax error":
        "The text is not valid TOML, so nothing in it can be relied upon and no other rule was \
         checked. One slip often makes the lines after it look wrong: of several errors close \
         together only the first is shown. Mend it and validate again.";
    DUPLICATE_KEY = "EK0007" Error "a key or table is defined twice":
        "TOML allows a key once in a table and a `[table]` header once in a file. Which of the two \
         was meant cannot be guessed. Remove one, or give the second object another name.\n\n\
         The same holds for the files of one cluster together: tables of the same name are \
         merged, but a key that two files define is an error. A table in braces `{ }` is complete \
         where it stands. Only an overlay replaces what is there.";
    INCLUDES_NOTHING = "EK0008" Warning "an include matches no file":
        "A pattern with `*` or `?` in `include` matches nothing. That may be right, as when a \
         directory of services is still empty; more often it is a slip. Patterns are relative to the \
         file that they stand in. `*` matches any part of a name and `?` one character of it, \
         neither matches `/`, and a name that begins with a dot is matched by a dot only.\n\n\
         A path without wildcards that does not exist is an error.";
    BAD_INCLUDE = "EK0009" Error "an include that cannot be followed":
        "An include is a path relative to the file that it stands in, with `/` between its parts, and \
         ends in `.toml`. Other files are not read, since lines of what is read may be shown; nor are plans \
         and files of secrets that `evenkeel` writes. An include may not lead out of the directory of the \
         cluster file: a cluster is one directory, \
         which can be read at any revision of a repository, and a change to it that somebody \
         proposes cannot make a build server show its own files. A cluster file on standard input \
         is in no directory and includes nothing.";
    INCLUDE_LIMIT = "EK0010" Error "too many files":
        "At most 1000 files are read, they include one another at most 16 deep, and together they \
         have at most 16 MiB. A file is read once however often it is included, so a cycle is no \
         mistake.";
    NO_LAYOUT = "EK0011" Error "the layout cannot be changed":
        "`evenkeel fmt` reads what it is about to write and compares it with what was there. Where \
         the two would not mean the same, it leaves the file alone and says so. The file itself is no \
         worse for it: every other command works with it.";
    TOO_MUCH = "EK0012" Error "too much would be made of the cluster":
        "Every VIP with every port is a virtual server on each director, with its own list of real \
         servers, and defaults are copied into each object. A few lines can so stand for more than a \
         machine holds. At most 4,000,000 destinations are made, and as many values taken from defaults; \
         with `--untrusted`, for files of strangers, 200,000.";
}
