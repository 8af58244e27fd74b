//! How many connections the system lets this process have: each is an open file, and calls to the platform need some too.

/// Files that are open whatever connections there are: the runtime's, the log, the stores, and some calls to the platform.
const OTHERS: usize = 24;

/// As many as were asked for, or half of the files that the process may open beside its own, where that is known and less.
pub(in crate::server::http) fn most(wanted: usize) -> usize {
    // Elsewhere only a call into the system would tell; there the operator knows.
    let Some(files) = std::fs::read_to_string("/proc/self/limits").ok().as_deref().and_then(soft_limit) else { return wanted };
    let most = wanted.min((files / 2).min(files.saturating_sub(OTHERS)).max(1));
    if most < wanted {
        tracing::warn!(connections = most, wanted, files, "the process may open too few files for as many connections (ulimit -n)");
    }
    most
}

/// The soft limit of open files, as Linux tells it.
fn soft_limit(limits: &str) -> Option<usize> {
    limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_found_where_there_is_one() {
        let limits = |files: &str| {
            format!("Limit  Soft Limit  Hard Limit  Units\nMax core file size  0  unlimited  bytes\nMax open files  {files}\n")
        };
        assert_eq!(soft_limit(&limits("1024   524288   files")), Some(1024));
        assert_eq!(soft_limit(&limits("unlimited   unlimited   files")), None);
        assert_eq!(soft_limit(""), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn no_more_connections_are_taken_than_there_may_be_files_for() {
        let files = soft_limit(&std::fs::read_to_string("/proc/self/limits").unwrap()).unwrap();
        assert_eq!((most(1), most(usize::MAX)), (1, (files / 2).min(files - OTHERS)));
    }
}
