complete --keep-order --exclusive --command netglance --arguments "(NETGLANCE_COMPLETE=fish netglance -- (commandline --current-process --tokenize --cut-at-cursor) (commandline --current-token))"
