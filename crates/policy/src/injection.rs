//! Environment variables that make a loader or an interpreter run or trust something else.
//!
//! Whoever sets one of them decides what code a program runs, whatever program the policy's author had in mind.
//! `environment.pass` and `environment.set` may name one only if `environment.force` names it too.

/// Variables that have one thing in common.
struct Class {
    /// What they do.
    why: &'static str,
    /// Names.
    exact: &'static [&'static str],
    /// How names begin.
    prefix: &'static [&'static str],
    /// How names end, in capitals or not.
    suffix: &'static [&'static str],
}

const CLASSES: &[Class] = &[
    Class {
        why: "it makes the dynamic loader or libc load other code or data (ld.so(8))",
        exact: &[
            "GCONV_PATH",
            "GETCONF_DIR",
            "GIO_EXTRA_MODULES",
            "GLIBC_TUNABLES",
            "GTK_MODULES",
            "GTK_PATH",
            "LOCPATH",
            "MALLOC_TRACE",
            "NLSPATH",
            "QT_PLUGIN_PATH",
            "TZDIR",
        ],
        prefix: &["LD_", "NIX_LD"],
        suffix: &[],
    },
    Class {
        why: "it makes a shell run code or split words differently (sh(1), bash(1))",
        exact: &[
            "BASHOPTS",
            "BASH_ENV",
            "BASH_LOADABLES_PATH",
            "CDPATH",
            "ENV",
            "FPATH",
            "GLOBIGNORE",
            "IFS",
            "PROMPT_COMMAND",
            "PS4",
            "SHELLOPTS",
            "ZDOTDIR",
        ],
        prefix: &["BASH_FUNC_"],
        suffix: &[],
    },
    Class {
        why: "it makes an interpreter load other code",
        exact: &[
            "BUNDLE_GEMFILE",
            "CLASSPATH",
            "DOTNET_ADDITIONAL_DEPS",
            "DOTNET_STARTUP_HOOKS",
            "EMACSLOADPATH",
            "ERL_AFLAGS",
            "ERL_FLAGS",
            "ERL_LIBS",
            "ERL_ZFLAGS",
            "EXINIT",
            "GEM_HOME",
            "GEM_PATH",
            "JAVA_TOOL_OPTIONS",
            "JDK_JAVA_OPTIONS",
            "JULIA_DEPOT_PATH",
            "JULIA_LOAD_PATH",
            "NODE_OPTIONS",
            "NODE_PATH",
            "NODE_REPL_EXTERNAL_MODULE",
            "PERL5DB",
            "PERL5LIB",
            "PERL5OPT",
            "PERL5SHELL",
            "PERLLIB",
            "PHPRC",
            "PHP_INI_SCAN_DIR",
            "PYTHONBREAKPOINT",
            "PYTHONEXECUTABLE",
            "PYTHONHOME",
            "PYTHONINSPECT",
            "PYTHONPATH",
            "PYTHONPLATLIBDIR",
            "PYTHONPYCACHEPREFIX",
            "PYTHONSTARTUP",
            "PYTHONUSERBASE",
            "PYTHONWARNINGS",
            "RUBYLIB",
            "RUBYOPT",
            "RUBYSHELL",
            "R_ENVIRON",
            "R_ENVIRON_USER",
            "R_PROFILE",
            "R_PROFILE_USER",
            "VIMINIT",
            "_JAVA_OPTIONS",
        ],
        prefix: &["CORECLR_PROFILER", "COR_PROFILER", "LUA_CPATH", "LUA_INIT", "LUA_PATH"],
        suffix: &[],
    },
    Class {
        why: "it makes a tool run another program",
        exact: &[
            "GIT_ASKPASS",
            "GIT_COMMON_DIR",
            "GIT_DIR",
            "GIT_EDITOR",
            "GIT_EXEC_PATH",
            "GIT_EXTERNAL_DIFF",
            "GIT_PAGER",
            "GIT_PROXY_COMMAND",
            "GIT_SEQUENCE_EDITOR",
            "GIT_SSH",
            "GIT_SSH_COMMAND",
            "GIT_TEMPLATE_DIR",
            "GNUMAKEFLAGS",
            "GOFLAGS",
            "GRADLE_OPTS",
            "LESSCLOSE",
            "LESSOPEN",
            "MAKEFLAGS",
            "MAVEN_OPTS",
            "MFLAGS",
            "RUSTC",
            "RUSTC_WORKSPACE_WRAPPER",
            "RUSTC_WRAPPER",
            "RUSTFLAGS",
            "SSH_ASKPASS",
            "SUDO_ASKPASS",
        ],
        prefix: &["GIT_CONFIG"],
        suffix: &[],
    },
    Class {
        why: "it changes which certificates or keys are trusted, or where secrets are written",
        exact: &[
            "AWS_CA_BUNDLE",
            "CURL_CA_BUNDLE",
            "NODE_EXTRA_CA_CERTS",
            "NODE_TLS_REJECT_UNAUTHORIZED",
            "OPENSSL_CONF",
            "OPENSSL_ENGINES",
            "OPENSSL_MODULES",
            "REQUESTS_CA_BUNDLE",
            "SSLKEYLOGFILE",
            "SSL_CERT_DIR",
            "SSL_CERT_FILE",
        ],
        prefix: &["GIT_SSL_"],
        suffix: &[],
    },
    Class {
        why: "it changes how names are resolved (hostname(7), resolv.conf(5))",
        exact: &["HOSTALIASES", "LOCALDOMAIN", "RESOLV_HOST_CONF", "RES_OPTIONS"],
        prefix: &[],
        suffix: &[],
    },
    Class { why: "it sends traffic through another host", exact: &[], prefix: &[], suffix: &["_PROXY"] },
];

/// Why the variable `name` is refused unless forced; `None` for an ordinary one.
pub fn reason(name: &str) -> Option<&'static str> {
    let capitals = name.to_ascii_uppercase();
    let holds = |class: &&Class| {
        class.exact.contains(&name)
            || class.prefix.iter().any(|prefix| name.starts_with(prefix))
            || class.suffix.iter().any(|suffix| capitals.ends_with(suffix))
    };
    CLASSES.iter().find(holds).map(|class| class.why)
}

/// Whether `name` can be the name of a variable: letters, digits and `_`, not a digit first (POSIX.1, 8.1).
pub fn is_name(name: &str) -> bool {
    let mut characters = name.chars();
    characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && characters.all(|character| character.is_ascii_alphanumeric() || character == '_')
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("LD_PRELOAD", "loader")]
    #[case("LD_LIBRARY_PATH", "loader")]
    #[case("GLIBC_TUNABLES", "loader")]
    #[case("BASH_ENV", "shell")]
    #[case("IFS", "shell")]
    #[case("PYTHONPATH", "interpreter")]
    #[case("LUA_INIT_5_4", "interpreter")]
    #[case("GIT_CONFIG_COUNT", "tool")]
    #[case("SSL_CERT_FILE", "trusted")]
    #[case("RES_OPTIONS", "resolved")]
    #[case("https_proxy", "traffic")]
    #[case("ALL_PROXY", "traffic")]
    fn refused(#[case] name: &str, #[case] why: &str) {
        assert!(reason(name).unwrap().contains(why));
    }

    #[rstest]
    #[case("PATH")]
    #[case("HOME")]
    #[case("LANG")]
    #[case("TERM")]
    #[case("PYTHONUNBUFFERED")]
    #[case("CARGO_HOME")]
    #[case("ENVIRONMENT")]
    fn ordinary(#[case] name: &str) {
        assert_eq!(reason(name), None);
    }

    #[rstest]
    #[case("A_1", true)]
    #[case("_", true)]
    #[case("", false)]
    #[case("1A", false)]
    #[case("A-B", false)]
    #[case("A=B", false)]
    #[case("Ä", false)]
    fn names(#[case] name: &str, #[case] valid: bool) {
        assert_eq!(is_name(name), valid);
    }
}
