# Ends what runs as the user id of a VM whose QEMU has ended, and takes the file system of its logs
# away. One process for all of it.
#
# Arguments: the folder of the run directories, the user id or nothing, and where the logs are or
# nothing.
my ($root, $uid, $log) = @ARGV;

# Whether anybody runs as that user, which the kernel tells at once: to read all of /proc costs more
# than everything else here. A thread counts, and one that has ended while its like go on.
sub is_anybody {
    local $! = 0;
    my $priority = getpriority 2, $_[0];
    return $! == 0;
}

sub processes {
    opendir my $folder, '/proc' or return;
    return grep { of_user($_) } grep { /^[0-9]+$/ } readdir $folder;
}

# By the real one: nothing that has another can come from that user.
sub of_user {
    sysopen my $file, "/proc/$_[0]/status", 0 or return 0;
    sysread $file, my $status, 65536;
    return $status =~ /^Uid:\t$uid\t/m;
}

# Of the user ids that are a VM's own, whatever runs as that user is that VM's: unless another
# inventory has given its number to a VM of another name.
sub is_one_vms {
    return 0 if $uid !~ /^19000[0-6][0-9]{4}$/;
    opendir my $folder, $root or return 0;
    return 2 > grep { lstat "$root/$_"; -d _ && (lstat _)[5] == $uid } grep { !/^\.\.?$/ } readdir $folder;
}

# Sends the signal as that user, to all that the kernel lets it: so none is born meanwhile, as a chain
# of processes is that each start the next and end, and which a look at /proc never catches up with.
# Its real and saved user ids are nobody's, or they could kill it first. Root's rights, with which it
# would kill everybody, must be gone. False where it could not.
sub kill_as_user {
    my $nobodys = $uid + 70000;
    my $setresuid = number(117, 147);
    return 0 if !$setresuid || is_anybody($nobodys);
    local $SIG{CHLD} = 'DEFAULT';
    my $child = fork // return 0;
    if (!$child) {
        my @ids = ($nobodys, $uid + 0, $nobodys);
        exit 1 if syscall $setresuid, @ids;
        sysopen my $file, '/proc/self/status', 0 or exit 1;
        sysread $file, my $status, 65536;
        exit 1 if $status !~ /^Uid:\t$ids[0]\t$ids[1]\t$ids[2]\t/m || $status !~ /^CapEff:\t0+$/m;
        kill 'KILL', -1;
        exit 0;
    }
    waitpid $child, 0;
    return $? == 0;
}

if (is_one_vms()) {
    for (1 .. 60) {
        last if !is_anybody($uid);
        kill_as_user() or kill 'KILL', processes();
        select undef, undef, undef, $_ > 10 ? 0.02 : 0.002;
    }
}

# umount2, without waiting for who has a log open, and not of what a link leads to.
if (defined $log && -d $log) {
    my $umount = number(166, 39);
    $umount ? syscall $umount, $log, 2 | 8 : system 'umount', '-l', $log;
}
