# Prints what is known of every VM of a worker: one process for all of them.
#
# Standard input: the mark of the script's frames, and the folder of the run directories. As an
# argument the mark would stand in the list of processes.
#
# A run directory is its QEMU's to write in, and a process may put what it likes into its command
# line. So of each no more is read than one of ours takes, links are not followed, and a FIFO does
# not hold us up. What root has written down counts, where it and its directory are root's: which
# process it is, and what that was started with.
my ($mark, $root) = map { chomp; $_ } <STDIN>;

# O_NOFOLLOW as x86 and as ARM count it (there the other one's bit is O_LARGEFILE), O_NONBLOCK.
my $ODD = 0x20000 | 0x8000 | 0x800;

sub content {
    my ($path, $most, $flags) = @_;
    sysopen my $file, $path, $flags or return;
    return if $flags && !-f $file;
    my $content = '';
    1 while length $content < $most && sysread $file, $content, $most - length $content, length $content;
    return $content;
}

# A file of root's in a directory of root's; '' where there is none.
sub written_down {
    my ($directory, $name, $most) = @_;
    my @owners = map { (lstat $_)[4] // -1 } $directory, "$directory/$name";
    return '' if grep { $_ != $> } @owners;
    return content("$directory/$name", $most, $ODD) // '';
}

# Two files of a directory, in words: the record, and the pidfile.
sub record {
    my ($directory) = @_;
    my $record = written_down($directory, 'process', 256);
    my ($found) = $record =~ /^([0-9]{1,7} [0-9]{1,20} [0-9]{1,10}(?: adopted)?)\n/ or return '';
    return $record =~ /\nended\n/ ? "$found ended" : $found;
}

sub pidfile {
    my ($directory) = @_;
    my $pid = content("$directory/pid", 20, $ODD);
    # What is no file there was not written by QEMU; that there is none is another matter.
    return lstat "$directory/pid" ? 'odd' : '' if !defined $pid;
    # A QEMU that is just starting has written none yet. Linux counts PIDs to 4194304.
    return '' if $pid eq '';
    return $pid =~ /^([0-9]{1,7})\n?\z/ ? $1 : 'odd';
}

# The TAPs that a process has open, as the kernel knows them: they come and go while it runs. One
# that was removed under it has no name any more. "?" where a container keeps even root from looking.
sub taps {
    my ($pid) = @_;
    opendir my $folder, "/proc/$pid/fd" or return '?';
    my @taps;
    for my $open (grep { /^\d/ } readdir $folder) {
        my $file = readlink "/proc/$pid/fd/$open";
        # 2 is ENOENT: closed meanwhile.
        return '?' if !defined $file && $! != 2;
        next if ($file // '') !~ m{/tun(?: \(deleted\))?$};
        my $info = content("/proc/$pid/fdinfo/$open", 4096, 0);
        return '?' if !defined $info && $! != 2;
        next if !defined $info;
        push @taps, $info =~ /^iff:[ \t]*(\S+)/m;
    }
    return @taps;
}

# The instance-id of what its guest was told.
sub seed {
    my ($directory) = @_;
    return '' if grep { ((lstat "$directory$_")[4] // -1) != $> } '', '/seed';
    my ($found) = (content("$directory/seed", 64, $ODD) // '') =~ /^(vmops-[0-9a-f]{1,32})\n\z/;
    return $found // '';
}

opendir my $folder, $root or exit;
for my $vm (sort grep { !/^\./ && -d "$root/$_" } readdir $folder) {
    my ($record, $pid) = (record("$root/$vm"), pidfile("$root/$vm"));
    print "\@\@$mark p $vm\ndirectory ", (stat "$root/$vm")[5] // 0, "\n";
    print "record $record\npid $pid\nseed ", seed("$root/$vm"), "\n";
    my ($process) = split ' ', $record eq '' ? $pid : $record;
    print "taps", (map { " $_" } taps($process)), "\n" if ($process // 'odd') ne 'odd';
    next if !defined $process || $process eq 'odd';
    my ($stat, $status, $command) =
        map { content("/proc/$process/$_", 65536, 0) // '' } qw(stat status cmdline);
    # A process names itself, with newlines if it likes; its status has them escaped.
    $stat =~ s/\n(?=.)/ /gs;
    my $begun_with = $record eq '' ? '' : written_down("$root/$vm", 'command', 65536);
    print $stat, $status, $begun_with eq '' ? $command : $begun_with;
}
