# Lets another worker bring an image: an sshd for this one transfer, with keys of its own, that runs
# nothing but what takes the image. It stands behind arrival.pl, once.pl and sshd.pl, before
# receive.pl, which comes here when it has said where to begin.
#
# Standard input, then: the private key of this host and the line of authorized_keys that lets the
# other one in.
sub by_another_worker {
    pipe my $image, my $into or finish('failed', $!);
    meet($image, $folder, "exec cat >/proc/$$/fd/" . fileno $into, 1);
    # Those who have no key end by themselves, soon; the other one when all has come.
    @callers = ();
    open STDIN, '<&', $image;
    close $_ for $image, $into;
}
