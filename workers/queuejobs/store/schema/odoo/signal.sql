-- A text that changes when one of Odoo's processes has told the others that the registry or a cache has changed.
create function odoo_signal() returns text language plpgsql set enable_seqscan = off set jit = off as $$
begin
    return concat_ws(' ', @signals@);
end $$;
