# Writes down which process is the QEMU of a VM that has just been started, and gives away what is
# not root's from then on. One process for all of it.
#
# Arguments: the folder of the run directories, the VM, its user id, the SSH user, the bytes that its
# log keeps for QEMU's own words, and the names of the sockets that are for the SSH user.
#
# The pidfile is root's still, and so is the directory: nobody else may write there before the last
# line. What is no plain file is not opened all the same.
my ($root, $vm, $uid, $user, $reserved, @sockets) = @ARGV;
my $directory = "$root/$vm";

sub give_up { print STDERR "$_[0]\n"; exit 1 }

# O_NOFOLLOW as x86 and as ARM count it (there the other one's bit is O_LARGEFILE), O_NONBLOCK.
sub opened {
    my ($path) = @_;
    sysopen my $file, $path, 0x20000 | 0x8000 | 0x800 or return;
    return -f $file ? $file : undef;
}

sub content {
    my ($file, $most) = @_;
    my $content = '';
    $file or return $content;
    1 while sysread $file, $content, $most - length $content, length $content;
    return $content;
}

# The start time of a QEMU of this VM, by user and by the pidfile of its command line. The name in
# field 2 of `stat` may hold blanks and brackets; field 22 is what counts.
sub started {
    my ($pid) = @_;
    my ($state, @fields) = split ' ', content(opened("/proc/$pid/stat"), 65536) =~ s/.*\)//sr;
    return if !defined $state || $state =~ /[ZX]/;
    return if content(opened("/proc/$pid/status"), 65536) !~ /^Uid:\t$uid\t$uid\t$uid\t$uid$/m;
    return if !grep { $_ eq "$directory/pid" } split /\0/, content(opened("/proc/$pid/cmdline"), 1 << 22);
    return $fields[18];
}

# Linux counts PIDs to 4194304.
my $pidfile = opened("$directory/pid");
my ($pid) = content($pidfile, 20) =~ /^([0-9]{1,7})\n*\z/;
my $started = defined $pid ? started($pid) : undef;
give_up('QEMU ended as soon as it had started') if !defined $started;

open my $record, '>', "$directory/process" or give_up("$directory/process: $!");
print $record "$pid $started $uid\n";
close $record or give_up("$directory/process: $!");

my $owner = getpwnam($user) // ($user =~ /^([0-9]+)$/ ? $1 : give_up("there is no user $user"));
for my $socket (map { "$directory/$_" } @sockets) {
    lstat $socket;
    give_up("there is no socket $socket") if !-S _;
    chown $owner, -1, $socket or give_up("$socket: $!");
}

# fallocate, beyond what is written: a log that is full has room for QEMU's own words.
if (sysopen my $log, "$directory/log/qemu", 0x2 | 0x40) {
    my $fallocate = number(285, 47);
    syscall $fallocate, fileno $log, 1, 0, $reserved + 0 if $fallocate;
}

# From here on it is QEMU's directory too.
chown $uid, -1, $pidfile or give_up("$directory/pid: $!");
chmod 01771, $directory or give_up("$directory: $!");
