//! A disk whose power can be cut: ext4 in a file, mounted by loop device. The cut is ext4's own
//! shutdown, which drops everything that was not synced; the next mount replays its journal.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

/// Room for some campaigns.
const IMAGE_BYTES: u64 = 512 << 20;
/// `EXT4_IOC_SHUTDOWN` with `EXT4_GOING_FLAGS_NOLOGFLUSH`: nothing that waits is written. Perl,
/// because every Debian has it and this is the one call that Rust can't make safely.
const CUT: &str = r#"
    open(my $disk, '<', $ARGV[0]) or die "$ARGV[0]: $!";
    my $flags = pack('L', 2);
    ioctl($disk, 0x8004587d, $flags) or die "ioctl: $!";
"#;
/// How often, and how far apart, a busy disk is asked to let go.
const UNMOUNT_TRIES: u32 = 50;
const UNMOUNT_PAUSE: Duration = Duration::from_millis(20);

/// The disk. Dropped, it is unmounted.
#[derive(Debug)]
pub struct Disk {
    image: PathBuf,
    mount_point: PathBuf,
}

/// Why there is none on this machine.
#[derive(Debug)]
pub struct NoDisk {
    /// Which step failed.
    step: &'static str,
    error: io::Error,
}

impl fmt::Display for NoDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not possible here: {}", self.step, self.error)
    }
}

fn run(step: &'static str, command: &mut Command) -> Result<(), NoDisk> {
    let failed = |error| NoDisk { step, error };
    let output = command.output().map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(failed(io::Error::other(said)))
}

impl Disk {
    /// Makes it, and tries a cut.
    pub fn new(folder: &Path) -> Result<Self, NoDisk> {
        let disk = Self { image: folder.join("disk.img"), mount_point: folder.join("disk") };
        let image = fs::File::create(&disk.image).and_then(|image| image.set_len(IMAGE_BYTES));
        image.map_err(|error| NoDisk { step: "making an image", error })?;
        let made = fs::create_dir_all(&disk.mount_point);
        made.map_err(|error| NoDisk { step: "making a mount point", error })?;
        run("mkfs.ext4", Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&disk.image))?;
        disk.mount()?;
        disk.cut()?;
        disk.unmount()?;
        Ok(disk)
    }

    /// Where files are kept while it is mounted.
    pub fn path(&self) -> &Path {
        &self.mount_point
    }

    /// Power on.
    pub fn mount(&self) -> Result<(), NoDisk> {
        let mut mount = Command::new("mount");
        run("mount -o loop", mount.args(["-o", "loop"]).arg(&self.image).arg(&self.mount_point))
    }

    /// Power off, now.
    pub fn cut(&self) -> Result<(), NoDisk> {
        let mut perl = Command::new("perl");
        run("cutting the power of ext4", perl.args(["-e", CUT]).arg(&self.mount_point))
    }

    /// Takes it away, as soon as nobody uses it any more.
    pub fn unmount(&self) -> Result<(), NoDisk> {
        let mut outcome = Ok(());
        for _ in 0..UNMOUNT_TRIES {
            outcome = run("umount", Command::new("umount").arg(&self.mount_point));
            if outcome.is_ok() {
                break;
            }
            thread::sleep(UNMOUNT_PAUSE);
        }
        outcome
    }

    /// The same where it may be unmounted already, and without waiting.
    pub fn release(&self) {
        drop(Command::new("umount").arg("-l").arg(&self.mount_point).output());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.release();
    }
}
