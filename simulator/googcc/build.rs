//! Compiles the shim and links what of libwebrtc it reaches; does nothing without the feature `linked`.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "linked")]
    linked::build();
}

#[cfg(feature = "linked")]
mod linked {
    use std::path::{Path, PathBuf};

    const INCLUDE: &str = "/usr/include/tg_owt";

    /// What this part of libwebrtc needs; all else in that archive stays out, as nothing refers to it.
    const ABSEIL: [&str; 4] =
        ["absl_strings", "absl_throw_delegate", "absl_bad_optional_access", "absl_raw_logging_internal"];

    pub(super) fn build() {
        let mut shim = cc::Build::new();
        shim.cpp(true).std("c++17").file("src/shim.cc").include(INCLUDE);
        // Headers lay out some types by these: they must be as in Debian's build.
        shim.define("WEBRTC_POSIX", None).define("WEBRTC_LINUX", None).define("NDEBUG", None);
        shim.flag("-Wno-unused-parameter"); // libwebrtc's headers are full of them
        let library = library(&shim);
        println!("cargo::rerun-if-changed=src/shim.cc");
        println!("cargo::rerun-if-changed=src/shim.h");
        println!("cargo::rerun-if-changed={}", library.display());
        shim.compile("lianmai_googcc");
        let folder = library.parent().expect("an archive lies in a folder");
        println!("cargo::rustc-link-search=native={}", folder.display());
        for name in ["tg_owt"].into_iter().chain(ABSEIL) {
            println!("cargo::rustc-link-lib=static:-bundle={name}");
        }
    }

    /// Where libwebrtc is, as the compiler sees it.
    fn library(shim: &cc::Build) -> PathBuf {
        let asked = shim.get_compiler().to_command().arg("-print-file-name=libtg_owt.a").output();
        let found = asked.ok().and_then(|output| String::from_utf8(output.stdout).ok());
        let path = found.map(|path| PathBuf::from(path.trim())).unwrap_or_default();
        assert!(
            path.is_absolute() && Path::new(INCLUDE).is_dir(),
            "the feature `peer-googcc` needs libwebrtc: apt-get install libtgowt-dev (`cargo xtask bench cc --peers` does)"
        );
        path
    }
}
