# An ssh for one meeting of two workers, which knows that one sshd. It stands behind once.pl, and
# before a program that defines `finish`.
#
# Standard input, then: the private key that lets us in there, and the line of known_hosts for that
# sshd.

# The words for it, up to where the options end: more of them may follow, each behind `-o`. Arguments:
# where keys may be kept, the other's port and user.
sub our_ssh {
    my ($folder, $port, $user) = @_;
    my ($ssh) = grep { -x } map { "$_/ssh" } split /:/, $ENV{PATH} or finish('lacks', 'ssh');
    my ($key, $hosts) = (kept($folder), kept($folder));
    finish('lacks', 'keys') if !$key || !$hosts;
    return ($ssh, qw(-F /dev/null -T -p), $port, '-l', $user, '-i', $key, map { ('-o', $_) }
        "UserKnownHostsFile=$hosts", qw(GlobalKnownHostsFile=/dev/null HostKeyAlias=vmops),
        qw(HostKeyAlgorithms=ssh-ed25519 StrictHostKeyChecking=yes UpdateHostKeys=no BatchMode=yes),
        qw(IdentitiesOnly=yes IdentityAgent=none PreferredAuthentications=publickey),
        qw(ConnectTimeout=10 LogLevel=ERROR Ciphers=^aes128-gcm@openssh.com));
}
