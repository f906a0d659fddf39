# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_netglance_global_optspecs
    string join \n hidden h/help V/version
end

function __fish_netglance_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_netglance_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_netglance_using_subcommand
    set -l cmd (__fish_netglance_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c netglance -n "__fish_netglance_needs_command" -l hidden -d 'Start without a window: the tray icon shows it'
complete -c netglance -n "__fish_netglance_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c netglance -n "__fish_netglance_needs_command" -s V -l version -d 'Print version'
complete -c netglance -n "__fish_netglance_needs_command" -f -a "watch" -d 'Show an app\'s external traffic in the terminal'
complete -c netglance -n "__fish_netglance_needs_command" -f -a "apps" -d 'List the apps that can be watched, busiest first'
complete -c netglance -n "__fish_netglance_needs_command" -f -a "run" -d 'Run a command in a cgroup of its own and count its external traffic'
complete -c netglance -n "__fish_netglance_needs_command" -f -a "verify" -d 'Prove on this computer that internal traffic is left out and an app\'s external traffic is counted'
complete -c netglance -n "__fish_netglance_needs_command" -f -a "doctor" -d 'Say what this host is like for netglance, which way of counting fits, and what to do'
complete -c netglance -n "__fish_netglance_needs_command" -f -a "install" -d 'Count exactly from now on, and after every boot: one password, in a dialog or in this terminal'
complete -c netglance -n "__fish_netglance_needs_command" -f -a "uninstall" -d 'Stop counting exactly and forget all counters'
complete -c netglance -n "__fish_netglance_needs_command" -f -a "run-become" -d 'Stop until continued, then become the command: the second half of `run`'
complete -c netglance -n "__fish_netglance_needs_command" -f -a "window" -d 'The window\'s process, which the program starts for each show'
complete -c netglance -n "__fish_netglance_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c netglance -n "__fish_netglance_using_subcommand watch" -l app -d 'An app by its name or id, as `netglance apps` lists them' -r
complete -c netglance -n "__fish_netglance_using_subcommand watch" -l unit -d 'Unit names, with * ? […] as systemctl takes them; all below a unit counts' -r
complete -c netglance -n "__fish_netglance_using_subcommand watch" -l cgroup -d 'cgroup paths as in /proc/PID/cgroup; all below counts' -r
complete -c netglance -n "__fish_netglance_using_subcommand watch" -l interval -d 'Seconds between two looks, 0.1 to 5 [default: the setting `beat`, or 0.5]' -r
complete -c netglance -n "__fish_netglance_using_subcommand watch" -l count -d 'End after N lines' -r
complete -c netglance -n "__fish_netglance_using_subcommand watch" -l source -d 'Insist on a source instead of taking the best there is' -r -f -a "exact\t'The helper\'s nftables counters: every IP packet, headers included'
estimate\t'The sockets\' own books (inet_diag): TCP payload only'"
complete -c netglance -n "__fish_netglance_using_subcommand watch" -l json -d 'One JSON object a line'
complete -c netglance -n "__fish_netglance_using_subcommand watch" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c netglance -n "__fish_netglance_using_subcommand apps" -l json -d 'One JSON array instead of a table'
complete -c netglance -n "__fish_netglance_using_subcommand apps" -s h -l help -d 'Print help'
complete -c netglance -n "__fish_netglance_using_subcommand run" -l json -d 'One JSON object a line on stdout; what the command prints there goes to stderr then'
complete -c netglance -n "__fish_netglance_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c netglance -n "__fish_netglance_using_subcommand verify" -l app -d 'An app by its name or id, as `netglance apps` lists them' -r
complete -c netglance -n "__fish_netglance_using_subcommand verify" -l unit -d 'Unit names, with * ? […] as systemctl takes them; all below a unit counts' -r
complete -c netglance -n "__fish_netglance_using_subcommand verify" -l cgroup -d 'cgroup paths as in /proc/PID/cgroup; all below counts' -r
complete -c netglance -n "__fish_netglance_using_subcommand verify" -l live -d 'Instead, and with no privilege: the app\'s open sockets, each with what decided that it is internal or external'
complete -c netglance -n "__fish_netglance_using_subcommand verify" -l json -d 'JSON instead of a table'
complete -c netglance -n "__fish_netglance_using_subcommand verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c netglance -n "__fish_netglance_using_subcommand doctor" -l app -d 'An app by its name or id, as `netglance apps` lists them' -r
complete -c netglance -n "__fish_netglance_using_subcommand doctor" -l unit -d 'Unit names, with * ? […] as systemctl takes them; all below a unit counts' -r
complete -c netglance -n "__fish_netglance_using_subcommand doctor" -l cgroup -d 'cgroup paths as in /proc/PID/cgroup; all below counts' -r
complete -c netglance -n "__fish_netglance_using_subcommand doctor" -l json -d 'One JSON object'
complete -c netglance -n "__fish_netglance_using_subcommand doctor" -l markdown -d 'Markdown, for an issue'
complete -c netglance -n "__fish_netglance_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c netglance -n "__fish_netglance_using_subcommand install" -l accept-kernel-leak -d 'Count although this kernel has a bug that costs memory while netglance counts'
complete -c netglance -n "__fish_netglance_using_subcommand install" -s h -l help -d 'Print help'
complete -c netglance -n "__fish_netglance_using_subcommand uninstall" -s h -l help -d 'Print help'
complete -c netglance -n "__fish_netglance_using_subcommand run-become" -s h -l help -d 'Print help'
complete -c netglance -n "__fish_netglance_using_subcommand window" -s h -l help -d 'Print help'
complete -c netglance -n "__fish_netglance_using_subcommand help; and not __fish_seen_subcommand_from watch apps run verify doctor install uninstall run-become window help" -f -a "watch" -d 'Show an app\'s external traffic in the terminal'
complete -c netglance -n "__fish_netglance_using_subcommand help; and not __fish_seen_subcommand_from watch apps run verify doctor install uninstall run-become window help" -f -a "apps" -d 'List the apps that can be watched, busiest first'
complete -c netglance -n "__fish_netglance_using_subcommand help; and not __fish_seen_subcommand_from watch apps run verify doctor install uninstall run-become window help" -f -a "run" -d 'Run a command in a cgroup of its own and count its external traffic'
complete -c netglance -n "__fish_netglance_using_subcommand help; and not __fish_seen_subcommand_from watch apps run verify doctor install uninstall run-become window help" -f -a "verify" -d 'Prove on this computer that internal traffic is left out and an app\'s external traffic is counted'
complete -c netglance -n "__fish_netglance_using_subcommand help; and not __fish_seen_subcommand_from watch apps run verify doctor install uninstall run-become window help" -f -a "doctor" -d 'Say what this host is like for netglance, which way of counting fits, and what to do'
complete -c netglance -n "__fish_netglance_using_subcommand help; and not __fish_seen_subcommand_from watch apps run verify doctor install uninstall run-become window help" -f -a "install" -d 'Count exactly from now on, and after every boot: one password, in a dialog or in this terminal'
complete -c netglance -n "__fish_netglance_using_subcommand help; and not __fish_seen_subcommand_from watch apps run verify doctor install uninstall run-become window help" -f -a "uninstall" -d 'Stop counting exactly and forget all counters'
complete -c netglance -n "__fish_netglance_using_subcommand help; and not __fish_seen_subcommand_from watch apps run verify doctor install uninstall run-become window help" -f -a "run-become" -d 'Stop until continued, then become the command: the second half of `run`'
complete -c netglance -n "__fish_netglance_using_subcommand help; and not __fish_seen_subcommand_from watch apps run verify doctor install uninstall run-become window help" -f -a "window" -d 'The window\'s process, which the program starts for each show'
complete -c netglance -n "__fish_netglance_using_subcommand help; and not __fish_seen_subcommand_from watch apps run verify doctor install uninstall run-become window help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
