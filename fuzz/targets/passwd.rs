//! Any bytes may stand in `/etc/passwd`: a home or a name is one that stands there, on the first line of that user.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u32, &[u8])| {
    let (uid, passwd) = input;
    // Users of small numbers are likely to be met.
    for uid in [uid, uid % 10, 0] {
        let lines = || {
            passwd
                .split(|byte| *byte == b'\n')
                .map(|line| line.split(|byte| *byte == b':').collect::<Vec<_>>())
        };
        let home = cloison::init::home_in(passwd, uid);
        let number = uid.to_string().into_bytes();
        let expected = lines()
            .find(|fields| fields.len() > 5 && fields[2] == number && !fields[5].is_empty())
            .map(|fields| fields[5].to_vec());
        assert_eq!(home, expected);
        if let Some(name) = cloison::lifecycle::name_in(passwd, uid) {
            assert!(!name.is_empty() && !name.contains([':', '\n']), "{name:?}");
            assert!(lines().any(|fields| String::from_utf8_lossy(fields[0]) == name), "{name:?}");
        }
    }
});
