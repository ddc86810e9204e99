-- server_version: what answers.   in: nothing   out: the version, with the packager's words behind it
select current_setting('server_version')
