# Prints what is known of every VM of a worker: one process for all of them.
#
# Standard input: the mark of the script's frames, and the folder of the run directories. As an
# argument the mark would stand in the list of processes.
#
# A run directory is its QEMU's to write in, and a process may put what it likes into its command
# line. So of each no more is read than one of ours takes, links are not followed, and a FIFO does
# not hold us up.
my ($mark, $root) = map { chomp; $_ } <STDIN>;

sub content {
    my ($path, $most, $flags) = @_;
    sysopen my $file, $path, $flags or return;
    return if $flags && !-f $file;
    my $content = '';
    1 while length $content < $most && sysread $file, $content, $most - length $content, length $content;
    return $content;
}

opendir my $folder, $root or exit;
for my $vm (sort grep { !/^\./ && -d "$root/$_" } readdir $folder) {
    print "\@\@$mark p $vm\ndirectory\n";
    # O_NOFOLLOW as x86 and as ARM count it (there the other one's bit is O_LARGEFILE), O_NONBLOCK.
    my $pid = content("$root/$vm/pid", 20, 0x20000 | 0x8000 | 0x800);
    if (!defined $pid) {
        # What is no file there was not written by QEMU; that there is none is another matter.
        print "pid odd\n" if lstat "$root/$vm/pid";
        next;
    }
    # A QEMU that is just starting has written none yet. Linux counts PIDs to 4194304.
    next if $pid eq '';
    if ($pid !~ /^([0-9]{1,7})\n?\z/) { print "pid odd\n"; next }
    print "pid $1\n", map { content("/proc/$1/$_", 65536, 0) // '' } qw(stat status cmdline);
}
