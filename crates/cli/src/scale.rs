//! `hostler scale`: more or fewer workers.
//!
//! Owns: what `4`, `+1`, `-2` mean, with or without the app's name. Must never know: how workers come and go. Called by
//! `main`.

use std::process::ExitCode;

use hostler_protocol::control::CommandRequest;

use crate::args::ScaleArgs;
use crate::ask::ask;
use crate::console::{BAD_CONFIG, end_with};

/// Runs the verb.
pub(crate) fn scale(args: &ScaleArgs) -> ExitCode {
    match request(&args.first, args.second.as_deref()) {
        Ok(request) => ask(&args.change, request),
        Err(why) => end_with(BAD_CONFIG, why),
    }
}

fn request(first: &str, second: Option<&str>) -> Result<CommandRequest, String> {
    let (app, number) = match second {
        Some(number) => (Some(first.to_owned()), number),
        None => (None, first),
    };
    let bad = || {
        format!(
            "scale: `{number}` is not usable: a number of workers (4) or a change (+1, -2) is expected"
        )
    };
    let is_change = number.starts_with(['+', '-']);
    let (workers, change) = if is_change {
        (None, number.parse::<i32>().map_err(|_| bad())?)
    } else {
        (Some(number.parse::<u32>().map_err(|_| bad())?), 0)
    };
    Ok(CommandRequest::Scale { app, workers, change })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_changes() {
        let scale = |app: Option<&str>, workers, change| CommandRequest::Scale {
            app: app.map(str::to_owned),
            workers,
            change,
        };
        assert_eq!(request("4", None), Ok(scale(None, Some(4), 0)));
        assert_eq!(request("web", Some("+2")), Ok(scale(Some("web"), None, 2)));
        assert_eq!(request("-1", None), Ok(scale(None, None, -1)));
        for word in ["many", "+", "1.5", "", "-"] {
            assert!(request(word, None).is_err(), "{word:?}");
        }
    }
}
