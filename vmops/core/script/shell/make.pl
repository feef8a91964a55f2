# Makes the run directory of a VM. One process for all of it.
#
# Arguments: the folder of the run directories, the VM, the group that its QEMU will have, and the
# KiB that its logs may take.
my ($root, $vm, $group, $kib) = @ARGV;
my $directory = "$root/$vm";
my $log = "$directory/log";

sub give_up { print STDERR "$_[0]: $!\n"; exit 1 }

# Of what is there already nothing is used.
umask 066;
mkdir $directory, 0711 or give_up($directory);
mkdir $log, 0711 or give_up($log);
# O_WRONLY, O_CREAT, O_EXCL. The record is made now, so that nobody can be first.
sysopen my $record, "$directory/process", 0x1 | 0x40 | 0x80, 0600 or give_up("$directory/process");
chown -1, $group, $directory or give_up($directory);

# nosuid, nodev, noexec. What syscall is given has to be in variables.
my ($source, $type, $options) = ('vmops', 'tmpfs', "size=${kib}k,mode=0700");
my $mount = number(165, 40);
my $failed = $mount
    ? syscall $mount, $source, $log, $type, 2 | 4 | 8, $options
    : system 'mount', '-t', $type, '-o', "$options,nosuid,nodev,noexec", $source, $log;
give_up("cannot mount $log") if $failed;
