import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;

/** Connects, writes and reads as DBeaver does, with ClickHouse's JDBC driver. */
public class Jdbc {
    public static void main(String[] arguments) throws Exception {
        try (Connection connection = DriverManager.getConnection(arguments[0])) {
            try (Statement statement = connection.createStatement()) {
                statement.execute("CREATE TABLE j (a UInt32, s String) ENGINE = MergeTree ORDER BY a");
            }
            try (PreparedStatement insert = connection.prepareStatement("INSERT INTO j (a, s) VALUES (?, ?)")) {
                for (int number = 1; number <= 3; number++) {
                    insert.setInt(1, number);
                    insert.setString(2, "it's " + number);
                    insert.addBatch();
                }
                insert.executeBatch();
            }
            try (PreparedStatement ask = connection.prepareStatement("SELECT a, s FROM j WHERE a >= ? ORDER BY a")) {
                ask.setInt(1, 2);
                try (ResultSet rows = ask.executeQuery()) {
                    while (rows.next()) {
                        System.out.println(rows.getInt(1) + " " + rows.getString("s"));
                    }
                }
            }
            try (Statement ask = connection.createStatement(); ResultSet rows = ask.executeQuery("SELECT toString(number) FROM numbers(300000)")) {
                int count = 0;
                while (rows.next()) {
                    count++;
                }
                if (count != 300000) {
                    throw new IllegalStateException("rows: " + count);
                }
            }
            DatabaseMetaData about = connection.getMetaData();
            try (ResultSet columns = about.getColumns(null, connection.getSchema(), "j", "%")) {
                while (columns.next()) {
                    System.out.println(columns.getString("COLUMN_NAME") + " " + columns.getString("TYPE_NAME"));
                }
            }
            try (Statement wrong = connection.createStatement()) {
                wrong.executeQuery("SELECT missing FROM j");
            } catch (SQLException error) {
                System.out.println(error.getMessage().contains("UNKNOWN_IDENTIFIER") ? "refused" : error.getMessage());
            }
        }
    }
}
