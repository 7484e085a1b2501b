//! EK11xx: what is wrong with a configuration of keepalived that is imported.

super::codes! {
    IMPORT_INCLUDE = "EK1101" Error "an included file cannot be read":
        "keepalived reads on without it, so what stands in the file is missing on the director too, or \
         the file was not copied along. Import from a copy of the whole configuration directory.";
    IMPORT_EXPANSION = "EK1102" Error "the configuration grows beyond all bounds":
        "Definitions and sequences repeat lines. There is a limit to what they may become, so that a slip \
         of one digit does not fill the memory. What was read before the limit is imported.";
    IMPORT_DEFINITION = "EK1103" Error "a definition or a sequence cannot be followed":
        "The line has the form of `$NAME=value`, `~SEQ(…)` or `~LST(…)`, but not its contents. It was left \
         out, with everything that it would have repeated.";
    IMPORT_PARAMETER = "EK1104" Warning "a parameter has no value here":
        "`${NAME}` is defined nowhere before the line, or its value comes from the director's environment or \
         from chance, which an import does not know. keepalived leaves an undefined parameter as it is, and \
         then stumbles over its braces.";
    IMPORT_QUOTE = "EK1105" Error "a quotation mark is not closed":
        "Quotes are closed on the line where they are opened. keepalived takes the rest of the line, and \
         newer versions complain.";
    IMPORT_ESCAPE = "EK1106" Warning "a backslash means different things to different versions":
        "Newer versions of keepalived read `\\\\t`, `\\\\x41` and so on as a shell does; older ones keep the \
         backslash in most places. The import follows the manual.";
    IMPORT_BRACE = "EK1107" Error "braces do not match":
        "A block is not closed, or closed twice. keepalived then takes the rest of the file for something \
         else than it looks like. The import takes a keyword that can stand at the top only as the end of \
         what is open.";
    IMPORT_UNKNOWN = "EK1108" Warning "keepalived does not know this keyword":
        "keepalived skips what it does not know, after a line in its log, so the keyword has no effect on \
         the directors either. Often it is misspelt: then the running cluster does not do what its \
         configuration seems to say.";
    IMPORT_VALUE = "EK1109" Error "a value cannot be understood":
        "keepalived takes its default instead, after a line in its log. The import does the same, and says \
         what it took.";
    IMPORT_REFERENCE = "EK1110" Error "a name refers to nothing":
        "The script, group, process or file is defined nowhere in the configuration. keepalived leaves the \
         reference out.";
    IMPORT_DUPLICATE = "EK1111" Error "the same thing is configured twice":
        "Two instances with one VRID on an interface, two real servers with one address, an address twice in \
        a list: \
         keepalived takes one of them and logs the other.";
    IMPORT_INCOMPLETE = "EK1112" Error "something necessary is missing":
        "An instance without VRID or interface, a virtual server without real servers: there is nothing to \
         run, and nothing that could be imported.";
    IMPORT_FOREIGN = "EK1113" Error "this is no configuration of keepalived":
        "The file holds bytes that no text has, or none of its words is one of keepalived's: it is a \
        program, or the configuration of \
         something else. Nothing of it was read. Name the director's main file, mostly \
         `/etc/keepalived/keepalived.conf`.";
    IMPORT_NOTHING = "EK1114" Error "there is nothing to import":
        "The file is empty, or it has no `vrrp_instance` and no `virtual_server` for this director: a \
        director that does nothing. \
         With lines such as `@dir1` say by `--id` which of them the director reads.";
    IMPORT_BLANK = "EK1115" Error "a blank that is none":
        "Only spaces and tabs separate words in keepalived's configuration. A no-break space or another \
        blank of \
         Unicode, which comes along when a text is copied from a web page or a word processor, is part of \
         the word \
         that it stands at: keepalived then does not know the keyword, or the value. The import reads it as \
         keepalived does.";
}
