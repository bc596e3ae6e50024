//! The JavaScript that runs inside a Node worker, embedded, so that loader and proxy can never
//! disagree about the protocol: both come out of one binary.
//!
//! The supervisor writes [`FILES`] into a directory and starts a worker with
//! `node --require DIRECTORY/preload.cjs ...` (`docs/worker-protocol.md`).
//!
//! Must never know: where the files go, how a worker is started.
#![forbid(unsafe_code)]

/// The file that Node is told to `--require`.
pub const ENTRY: &str = "preload.cjs";

/// Every file of the loader: its name and its text. All of them belong into one directory.
pub const FILES: &[(&str, &str)] = &[
    ("accessors.cjs", include_str!("../js/accessors.cjs")),
    ("born.cjs", include_str!("../js/born.cjs")),
    ("channel.cjs", include_str!("../js/channel.cjs")),
    ("alive.cjs", include_str!("../js/alive.cjs")),
    ("claim.cjs", include_str!("../js/claim.cjs")),
    ("connections.cjs", include_str!("../js/connections.cjs")),
    ("constants.cjs", include_str!("../js/constants.cjs")),
    ("dispatch.cjs", include_str!("../js/dispatch.cjs")),
    ("dump.cjs", include_str!("../js/dump.cjs")),
    ("errors.cjs", include_str!("../js/errors.cjs")),
    ("exec.cjs", include_str!("../js/exec.cjs")),
    ("face.cjs", include_str!("../js/face.cjs")),
    ("frame.cjs", include_str!("../js/frame.cjs")),
    ("handover.cjs", include_str!("../js/handover.cjs")),
    ("hang.cjs", include_str!("../js/hang.cjs")),
    ("hang_thread.cjs", include_str!("../js/hang_thread.cjs")),
    ("heartbeat.cjs", include_str!("../js/heartbeat.cjs")),
    ("last_words.cjs", include_str!("../js/last_words.cjs")),
    ("leave.cjs", include_str!("../js/leave.cjs")),
    ("listen.cjs", include_str!("../js/listen.cjs")),
    ("natives.cjs", include_str!("../js/natives.cjs")),
    ("offer.cjs", include_str!("../js/offer.cjs")),
    ("outbox.cjs", include_str!("../js/outbox.cjs")),
    ("plain.cjs", include_str!("../js/plain.cjs")),
    ("preload.cjs", include_str!("../js/preload.cjs")),
    ("reader.cjs", include_str!("../js/reader.cjs")),
    ("ready.cjs", include_str!("../js/ready.cjs")),
    ("refusal.cjs", include_str!("../js/refusal.cjs")),
    ("report.cjs", include_str!("../js/report.cjs")),
    ("response.cjs", include_str!("../js/response.cjs")),
    ("selftest.cjs", include_str!("../js/selftest.cjs")),
    ("settings.cjs", include_str!("../js/settings.cjs")),
    ("shapes.cjs", include_str!("../js/shapes.cjs")),
    ("socket.cjs", include_str!("../js/socket.cjs")),
    ("states.cjs", include_str!("../js/states.cjs")),
    ("trial.cjs", include_str!("../js/trial.cjs")),
    ("tunnel.cjs", include_str!("../js/tunnel.cjs")),
    ("tunnel_handle.cjs", include_str!("../js/tunnel_handle.cjs")),
    ("tunnels.cjs", include_str!("../js/tunnels.cjs")),
    ("watch.cjs", include_str!("../js/watch.cjs")),
    ("worker.cjs", include_str!("../js/worker.cjs")),
    ("written.cjs", include_str!("../js/written.cjs")),
];

#[cfg(test)]
mod tests {
    use super::{ENTRY, FILES};
    use std::collections::BTreeSet;

    #[test]
    fn every_file_of_the_folder_is_embedded() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/js");
        let on_disk: BTreeSet<String> = std::fs::read_dir(folder)
            .expect("the folder is part of the crate")
            .map(|entry| entry.expect("a directory entry").file_name())
            .map(|name| name.into_string().expect("an ASCII name"))
            .collect();
        let embedded: BTreeSet<String> = FILES.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(on_disk, embedded);
        assert!(embedded.contains(ENTRY));
    }

    /// A file that requires one which is not embedded would only fail in a user's worker.
    #[test]
    fn files_require_only_node_and_each_other() {
        for (name, text) in FILES {
            for required in
                text.split("require('./").skip(1).filter_map(|rest| rest.split('\'').next())
            {
                assert!(
                    FILES.iter().any(|(file, _)| *file == required),
                    "{name} requires {required}"
                );
            }
        }
    }
}
